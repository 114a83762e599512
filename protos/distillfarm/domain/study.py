"""A study: the search for the best variant per chipset, its trials, bounds and verdicts."""

from dataclasses import dataclass
from enum import Enum

from distillfarm.domain.hardware import Target
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Energy, Outcome
from distillfarm.domain.model import Analysis, ArtifactRef, Dataset, SourceModel
from distillfarm.domain.variant import Candidate, Exported, Recipe, Refusal


class Metric(Enum):
    """What an SLA can bound, each in its base unit."""

    ACCURACY_DROP = "accuracy_drop"
    """Points (1 point = 0.01) of the reference's quality lost."""
    COLD = "cold"
    """Milliseconds from process launch to first output."""
    WARM_P50 = "warm_p50"
    WARM_P90 = "warm_p90"
    WARM_P99 = "warm_p99"
    """Milliseconds for one inference after warm-up."""
    PEAK_MEMORY = "peak_memory"
    """Bytes."""
    SIZE = "size"
    """Bytes of the artifact."""
    ENERGY = "energy"
    """Millijoules for one inference."""


@dataclass(frozen=True)
class Bound:
    """One promise: ``metric`` is at most ``limit`` (in the metric's base unit)."""

    metric: Metric
    limit: float


@dataclass(frozen=True)
class Sla:
    """All promises; each must hold."""

    bounds: tuple[Bound, ...]


class Verdict(Enum):
    """Whether a bound holds, as far as the measurements can tell."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class BoundVerdict:
    """One bound judged: ``observed`` is None when the quantity was not measured.

    ``more_launches`` would probably settle an inconclusive one; 0 where launches cannot.
    """

    bound: Bound
    verdict: Verdict
    observed: Interval | None
    reason: str
    more_launches: int = 0


@dataclass(frozen=True)
class SlaVerdict:
    """The verdict over all bounds: FAIL if one fails, else INCONCLUSIVE if one is, else PASS."""

    verdict: Verdict
    bounds: tuple[BoundVerdict, ...]


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    ``trials_per_target`` candidates are built; ``wall_s`` seconds of wall time, ``launches`` of
    candidates on each chipset, racing or verifying, and ``device_s`` seconds of each chipset's
    devices are spent, of which 0 is no limit. Looked at between rounds: what has begun is finished,
    and where nothing has passed yet somebody is verified all the same.
    """

    trials_per_target: int = 8
    wall_s: float = 3600.0
    launches: int = 0
    device_s: float = 0.0


@dataclass(frozen=True)
class StudySpec:
    """What a study is asked to do.

    ``selector`` says which devices may be used; one winner is chosen for every chipset among
    them. ``seed`` makes proposals and training repeatable.
    ``objective`` is made as small as the SLA allows. ``launches`` are the first look at a
    candidate, after which only those that may win get more. What leads is measured anew: at least
    ``final_launches`` on each of ``phones`` devices of the chipset, or as many as there are, and
    more until each bound is decided or ``max_final_launches`` were made there: so many leave fewer
    than 1 verdict in 10 open on the least steady devices, and 9 launches settle most.
    With ``recipes`` only these are tried; else the model's analysis proposes.
    """

    name: str
    model: SourceModel
    data: Dataset
    sla: Sla
    targets: tuple[Target, ...]
    selector: str = "*"
    budget: Budget = Budget()
    seed: int = 0
    launches: int = 3
    final_launches: int = 9
    recipes: tuple[Recipe, ...] = ()
    objective: Metric = Metric.WARM_P90
    phones: int = 2
    max_final_launches: int = 320


class StudyState(Enum):
    """Where a study is in its life; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing can change any more."""
        return self in (StudyState.DONE, StudyState.FAILED, StudyState.CANCELLED)


@dataclass(frozen=True)
class Score:
    """A trial in the quantities that people compare, all with their intervals.

    Latencies are milliseconds, memory and size bytes, ``quality_drop`` points against the
    reference model on the same samples.
    """

    quality: Interval
    quality_drop: Interval
    size_bytes: int
    cold_ms: Interval
    warm_p50_ms: Interval
    warm_p90_ms: Interval
    warm_p99_ms: Interval
    peak_memory_bytes: Interval
    energy: Energy


@dataclass(frozen=True)
class LogRef:
    """The log of one step of a trial: the step in words, and the blob of the text."""

    step: str
    digest: str


@dataclass(frozen=True)
class Prediction:
    """What the surrogate expected of a candidate's warm p90 before it was measured.

    Milliseconds with a 95 % interval, learnt from ``measurements`` on this chipset and others.
    """

    warm_p90_ms: Interval
    measurements: int


@dataclass(frozen=True)
class Trial:
    """One candidate with its fate on one chipset.

    ``refusal`` is set when it could not be built; otherwise ``exported`` is set and, once it was
    measured, ``outcome``, ``measurement_ids`` and, for OK, ``score``. ``final`` marks the
    re-measurement that a choice rests on; ``reference`` the untouched source model. ``skipped`` is
    why no device was asked, by a check that costs none.
    """

    trial_id: str
    study_id: str
    chipset: str
    candidate: Candidate
    refusal: Refusal | None = None
    exported: Exported | None = None
    measurement_ids: tuple[str, ...] = ()
    outcome: Outcome | None = None
    outcome_reason: str = ""
    score: Score | None = None
    reference: bool = False
    final: bool = False
    skipped: str = ""
    prediction: Prediction | None = None

    @property
    def logs(self) -> tuple[LogRef, ...]:
        """What was logged while it was built; for a refused one, by the step that refused."""
        reports = self.exported.reports if self.exported else ()
        found = [LogRef(str(each.spec), each.log_digest) for each in reports]
        if self.refusal is not None:
            found.append(LogRef(self.refusal.stage, self.refusal.log_digest))
        return tuple(each for each in found if each.digest)


@dataclass(frozen=True)
class PhoneVerdict:
    """The chosen variant judged on one device alone, by so many launches there."""

    device_id: str
    verdict: SlaVerdict
    launches: int


@dataclass(frozen=True)
class Spent:
    """What a search used on one chipset.

    Of ``candidates`` that were built ``skipped`` were not measured there at all; ``reused``
    measurements were there before. ``launches`` were made to race, against which stand
    ``grid_launches``: what measuring every candidate three times would have taken. The
    ``final_launches`` that judge the best ones, and the originals beside them, come on top of
    either.
    ``device_s`` is how long devices were held in all, ``waited_s`` of it at gates.
    """

    candidates: int
    skipped: int
    measurements: int
    reused: int
    launches: int
    grid_launches: int
    device_s: float
    waited_s: float
    final_launches: int = 0


@dataclass(frozen=True)
class Choice:
    """The variant chosen for one chipset, with its verdict and the reason in words.

    ``trial_id`` is empty when no candidate could be measured at all. ``phones`` judge it one by
    one. ``front`` are the trials that nothing beats in every objective at once, ``knee_trial_id``
    that of them after which more is given up than gained.
    """

    chipset: str
    trial_id: str
    verdict: SlaVerdict
    why: str
    phones: tuple[PhoneVerdict, ...] = ()
    front: tuple[str, ...] = ()
    knee_trial_id: str = ""
    spent: Spent | None = None


@dataclass(frozen=True)
class Study:
    """A study with everything that came out of it so far."""

    study_id: str
    spec: StudySpec
    state: StudyState
    created_at_s: float
    finished_at_s: float = 0.0
    analysis: Analysis | None = None
    choices: tuple[Choice, ...] = ()
    bundle: ArtifactRef | None = None
    error: str = ""


@dataclass(frozen=True)
class StudyEvent:
    """One line of progress.

    ``sequence`` grows by one within a study; ``stage`` is ingest, analyse, propose, compress,
    measure, decide or bundle; ``done`` of ``total`` steps of the whole study are finished;
    ``left_s`` is the estimate of the time left, negative while unknown.
    """

    study_id: str
    sequence: int
    at_s: float
    stage: str
    text: str
    done: int = 0
    total: int = 0
    left_s: float = -1.0


@dataclass(frozen=True)
class MatrixCell:
    """One row of the compatibility matrix: a variant on a chipset and target, as measured.

    It speaks of one build of the system and one version of the runtime. ``label`` is how the row is
    to be read: the outcome, or ``UNSTABLE``, ``EMULATED``, ``TOOL`` (a maker's own figures) or
    ``not measured``, all of which have no numbers. ``reason`` is why there are none, and else over
    what the row speaks where that is more than the measurement ``measurement_id``.
    """

    study_id: str
    model_name: str
    recipe: str
    target: Target
    chipset: str
    device_model: str
    os_build: str
    label: str
    reason: str
    measured_at_s: float
    size_bytes: int
    score: Score | None = None
    measurement_id: str = ""
