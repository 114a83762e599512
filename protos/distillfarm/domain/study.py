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
    """One bound judged: ``observed`` is None when the quantity was not measured."""

    bound: Bound
    verdict: Verdict
    observed: Interval | None
    reason: str


@dataclass(frozen=True)
class SlaVerdict:
    """The verdict over all bounds: FAIL if one fails, else INCONCLUSIVE if one is, else PASS."""

    verdict: Verdict
    bounds: tuple[BoundVerdict, ...]


@dataclass(frozen=True)
class Budget:
    """What a search may spend: candidates built per target, and seconds of wall time.

    The time is looked at between rounds; a trial that has begun is finished.
    """

    trials_per_target: int = 8
    wall_s: float = 3600.0


@dataclass(frozen=True)
class StudySpec:
    """What a study is asked to do.

    ``selector`` says which devices may be used; one winner is chosen for every chipset among
    them. ``seed`` makes proposals and training repeatable.
    ``launches`` is for the search, ``final_launches`` for the re-measurement of the chosen.
    With ``recipes`` only these are tried, in their order; else the model's analysis proposes.
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
    final_launches: int = 7
    recipes: tuple[Recipe, ...] = ()


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
class Trial:
    """One candidate with its fate on one chipset.

    ``refusal`` is set when it could not be built; otherwise ``exported`` is set and, once it was
    measured, ``outcome``, ``measurement_ids`` and, for OK, ``score``. ``final`` marks the
    re-measurement that a choice rests on; ``reference`` the untouched source model.
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

    @property
    def logs(self) -> tuple[LogRef, ...]:
        """What was logged while it was built; for a refused one, by the step that refused."""
        reports = self.exported.reports if self.exported else ()
        found = [LogRef(str(each.spec), each.log_digest) for each in reports]
        if self.refusal is not None:
            found.append(LogRef(self.refusal.stage, self.refusal.log_digest))
        return tuple(each for each in found if each.digest)


@dataclass(frozen=True)
class Choice:
    """The variant chosen for one chipset, with its verdict and the reason in words.

    ``trial_id`` is empty when no candidate could be measured at all.
    """

    chipset: str
    trial_id: str
    verdict: SlaVerdict
    why: str


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

    ``label`` is how the row is to be read: the outcome, or ``UNSTABLE``, ``EMULATED``, ``TOOL`` (a
    maker's own figures) or ``not measured``, all of which have no numbers.
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
