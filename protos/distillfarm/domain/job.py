"""One benchmark to run, and the lease under which a device runs it."""

from dataclasses import dataclass, replace
from enum import Enum

from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ArtifactRef

MOST_RAW, MOST_KEPT = 200_000, 20_000
"""Samples that a launch of BURST, and of a long mode, keeps at most, evenly spread where there are
more: their count bounds lines and messages, not the inferences."""
LEAST_QUERIES, LEAST_QUERIES_S = 1024, 60.0
"""No run of MLPerf Mobile's single stream is shorter (mlcommons/mobile_open, rules 4.0, 3.1)."""


class ColdStart(Enum):
    """Which cold start a launch shows; see docs/measurement.

    NEW_PROCESS: a fresh process, the system's caches as they are. PAGE_CACHE_DROPPED: the pages of
    the model and the runtime were dropped from memory before. FIRST_EVER: that, and whatever a
    delegate compiled for this model earlier was removed.
    """

    FIRST_EVER = "first_ever"
    NEW_PROCESS = "new_process"
    PAGE_CACHE_DROPPED = "page_cache_dropped"


class Mode(Enum):
    """What the timed inferences of a launch show; see docs/measurement.

    BURST: how fast a device is that has rested. SUSTAINED: how it fares when it never rests, which
    changes who is fastest once phones grow hot. SINGLE_STREAM: MLPerf's scenario of that name, one
    query after the other, at least 1024 of them and for at least 60 s.
    """

    BURST = "burst"
    SUSTAINED = "sustained"
    SINGLE_STREAM = "single_stream"


@dataclass(frozen=True)
class MeasureSpec:
    """How to measure.

    ``launches`` fresh processes, each warmed up until stationary (at most ``max_warmup``
    inferences), then ``iterations`` timed inferences but no more than ``max_sampling_s`` seconds
    of them (at least 10 are always taken). ``threads`` are the runtime's intra-op threads.
    ``launch_timeout_s`` bounds one launch, to which the inferring of a long mode comes on top.
    ``inputs_digest`` and ``expected_digest`` name .npz
    blobs of fixed inputs and reference outputs; empty means made-up inputs and no comparison.
    An output further than ``tolerance`` from the reference (maximum of absolute error, relative to
    the reference's largest magnitude) makes the outcome INCORRECT. ``cold_start`` is the kind of
    every launch. ``tool`` names a runtime maker's own benchmark program to use instead of ours,
    such as ``benchmark_model``: it gives aggregates, which are shown and never compared.

    Where ``max_launches`` is larger than ``launches`` it goes on until the 95 % interval of the
    warm p50 and p90 over launches is no wider than ``width`` of its value (0.05: from 2.5 % below
    to 2.5 % above), or that many launches were made, or ``budget_s`` seconds of the device are
    spent (0: no such limit); the measurement says which. ``duration_s`` is how long a launch of the
    modes SUSTAINED and SINGLE_STREAM goes on inferring; such a launch keeps at most ``MOST_KEPT``
    samples, evenly spread. ``cooldown_s`` of rest lie before every launch but the first.
    """

    launches: int = 5
    max_warmup: int = 200
    iterations: int = 200
    max_sampling_s: float = 2.0
    threads: int = 1
    launch_timeout_s: float = 60.0
    inputs_digest: str = ""
    expected_digest: str = ""
    tolerance: float = 0.01
    cold_start: ColdStart = ColdStart.NEW_PROCESS
    tool: str = ""
    max_launches: int = 0
    width: float = 0.0
    budget_s: float = 0.0
    mode: Mode = Mode.BURST
    duration_s: float = 0.0
    cooldown_s: float = 0.0

    @property
    def most_launches(self) -> int:
        """So many launches at most."""
        return max(self.launches, self.max_launches)

    @property
    def inferring_s(self) -> float:
        """For how long a launch of a long mode goes on inferring; 0 for BURST."""
        if self.mode is Mode.SINGLE_STREAM:
            return max(self.duration_s, LEAST_QUERIES_S)
        return self.duration_s if self.mode is Mode.SUSTAINED else 0.0

    @property
    def timeout_s(self) -> float:
        """How long a launch may take in all."""
        return self.launch_timeout_s + self.inferring_s

    @property
    def most_samples(self) -> int:
        """So many samples of all launches together at most, those of the warm-up included."""
        kept = min(self.iterations, MOST_RAW) if self.mode is Mode.BURST else MOST_KEPT
        return self.most_launches * (self.max_warmup + kept)


@dataclass(frozen=True)
class Rival:
    """Another artifact that a job launches in turn with its own, A B B A, to be compared with it.

    ``inputs_digest``, ``expected_digest`` and ``tolerance`` as in the spec, which holds for both in
    everything else.
    """

    artifact: ArtifactRef
    target: Target
    inputs_digest: str = ""
    expected_digest: str = ""
    tolerance: float = 0.01


class JobState(Enum):
    """Where a job is in its life; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing can change any more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class JobRequest:
    """What a caller asks for: this artifact on any device that ``selector`` means.

    ``idempotency_key`` makes the request safe to repeat: the same key gives the same job.
    ``priority``: larger goes first. ``study_id`` is empty for a job of its own. ``rival`` is what
    it is compared with, launch by launch, under the same lease.
    """

    idempotency_key: str
    artifact: ArtifactRef
    target: Target
    selector: str
    spec: MeasureSpec
    priority: int = 0
    study_id: str = ""
    rival: Rival | None = None

    @property
    def sides(self) -> tuple["JobRequest", ...]:
        """A request for each artifact alone: the job's own, and the rival's where there is one."""
        own, rival = replace(self, rival=None), self.rival
        if rival is None:
            return (own,)
        spec = replace(
            self.spec,
            inputs_digest=rival.inputs_digest,
            expected_digest=rival.expected_digest,
            tolerance=rival.tolerance,
        )
        return own, replace(own, artifact=rival.artifact, target=rival.target, spec=spec)

    @property
    def digests(self) -> tuple[str, ...]:
        """Every blob that has to be there, each once."""
        named = (
            digest
            for each in self.sides
            for digest in (each.artifact.digest, each.spec.inputs_digest, each.spec.expected_digest)
        )
        return tuple(dict.fromkeys(filter(None, named)))


@dataclass(frozen=True)
class Job:
    """A request with its fate.

    ``attempts`` counts leases granted; ``error`` says why a FAILED job failed, and is only ever
    the harness's fault: a model's fault is a DONE job with its outcome. ``progress`` is a short
    line for people, ``fraction`` 0..1. ``failed_on`` are the devices on which an attempt failed;
    any other that can run it is tried first.
    """

    job_id: str
    request: JobRequest
    state: JobState
    submitted_at_s: float
    attempts: int = 0
    device_id: str = ""
    measurement_id: str = ""
    error: str = ""
    progress: str = ""
    fraction: float = 0.0
    failed_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lease:
    """An exclusive, expiring, fenced hold of a job on a device.

    ``token`` grows with every lease ever granted on the device; a result that carries an older
    token than the device's newest is refused.
    """

    job_id: str
    device_id: str
    agent_id: str
    token: int
    expires_at_s: float
