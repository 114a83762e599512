"""Recipes, candidates and variants: what is to be done to a model, and what came out."""

from dataclasses import dataclass
from enum import Enum

from distillfarm.domain.hardware import Target
from distillfarm.domain.interval import Interval
from distillfarm.domain.model import ArtifactRef, Signature

AGREEMENT = "agreement"
"""The metric of data without labels."""


@dataclass(frozen=True, order=True)
class Parameter:
    """One setting of a pass; ``value`` is text that the pass itself parses and checks."""

    name: str
    value: str


@dataclass(frozen=True)
class PassSpec:
    """One compression pass by its registered name, with its settings in name order."""

    name: str
    parameters: tuple[Parameter, ...] = ()

    def __str__(self) -> str:
        settings = ",".join(f"{each.name}={each.value}" for each in self.parameters)
        return f"{self.name}({settings})" if settings else self.name


@dataclass(frozen=True)
class Recipe:
    """An ordered list of passes; the empty recipe leaves the model as it is.

    Its text is the grammar that people write: ``distill(width=0.5)+prune(ratio=0.5)+int8_static``.
    """

    passes: tuple[PassSpec, ...] = ()

    def __str__(self) -> str:
        return "+".join(map(str, self.passes)) or "original"


@dataclass(frozen=True)
class Candidate:
    """A recipe for a target: something that could be built and measured, not yet built."""

    recipe: Recipe
    target: Target

    def __str__(self) -> str:
        return f"{self.recipe} on {self.target}"


class PassOutcome(Enum):
    """What a pass did to the model."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    DESTROYED = "destroyed"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve; ``quality`` is measured on the selection split."""

    epoch: int
    loss: float
    quality: float


@dataclass(frozen=True)
class Quality:
    """How right a model's answers are on one split of the data.

    ``value`` is accuracy in 0..1 unless the user's evaluator replaced it (``metric`` says so);
    ``low`` and ``high`` bound it at 95 % (Wilson score for accuracy, equal to ``value`` where the
    evaluator gives no interval). ``samples`` is how many answers were judged. For data without
    labels the source model's answers are the right ones; the metric is then ``agreement``, or
    ``agreement by`` the evaluator.
    """

    metric: str
    value: float
    low: float
    high: float
    samples: int

    @property
    def against_source(self) -> bool:
        """Whether the source model's answers were taken for the right ones."""
        return self.metric == AGREEMENT or self.metric.startswith(f"{AGREEMENT} by ")


@dataclass(frozen=True)
class PassReport:
    """The evidence that a pass leaves: what changed, what it cost, and what it did to quality.

    A change of format leaves a report too, under the name ``convert``; ``max_abs_error`` is then
    the largest difference between both files' outputs, None if it could not be compared.
    ``seconds`` is wall time and ``peak_rss_bytes`` the worker process' high-water mark.
    ``packed`` sizes are those of the file after DEFLATE, as an app's package stores it. ``notes``
    are what the pass itself has to say: layers that it left alone, ranks that it chose, what its
    gain depends on. ``log_digest`` names the blob of the text that it wrote while it worked.
    """

    spec: PassSpec
    outcome: PassOutcome
    reason: str = ""
    size_before_bytes: int = 0
    size_after_bytes: int = 0
    parameters_before: int = 0
    parameters_after: int = 0
    quality: Quality | None = None
    curve: tuple[CurvePoint, ...] = ()
    max_abs_error: float | None = None
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    packed_before_bytes: int = 0
    packed_after_bytes: int = 0
    notes: tuple[str, ...] = ()
    log_digest: str = ""


@dataclass(frozen=True)
class Variant:
    """What a recipe has produced so far: a model between passes, or an exported artifact.

    ``signature`` names inputs and outputs like the source model's. ``student_digest`` and
    ``student_function`` are the source model's. ``runnable`` is the last form of it that runs on
    the host, None where ``artifact`` itself does.
    """

    recipe: Recipe
    artifact: ArtifactRef
    signature: Signature
    parameters: int
    reports: tuple[PassReport, ...] = ()
    student_digest: str = ""
    student_function: str = ""
    runnable: ArtifactRef | None = None


class SliceKind(Enum):
    """Why some samples are looked at apart."""

    CLASS = "class"
    GROUP = "group"
    SHIFT = "shift"


@dataclass(frozen=True)
class QualitySlice:
    """Quality on a part of the test split, or on all of it with its inputs shifted.

    ``name`` is the class index, the group, or the shift in words with its strength. ``before`` is
    the source model's on the same samples, ``drop`` the paired difference in points.
    """

    kind: SliceKind
    name: str
    before: Quality
    after: Quality
    drop: Interval


@dataclass(frozen=True)
class QualityDetail:
    """What one number hides, all on the test split.

    ``agreement`` is the share of samples (0..1) on which the largest output is the source model's
    too, None where outputs are no classes. ``resolution_points`` is half the width of the drop's
    interval: a smaller difference than that is one which so few samples cannot show. ``notes`` say
    what was left out.
    """

    agreement: Interval | None
    resolution_points: float
    slices: tuple[QualitySlice, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """A variant as a file for one target, verified and judged on the host.

    ``max_abs_error`` compares the exported file's outputs with those of the variant it was made
    from; None where that runtime does not run here, and ``unverified`` says why. The qualities,
    drops and expected outputs of such a file are those of the model before the conversion.
    ``quality`` is on the selection split, which the search may look at; ``test_quality`` on the
    test split, which only verdicts and reports use. The drops are points (1 point = 0.01) lost
    against the source model on the same samples, with a paired interval; zero for the source.
    ``inputs_digest`` and ``expected_digest`` name .npz blobs with the fixed inputs and the
    reference outputs that every launch on a device is checked against; ``tolerance`` is how far a
    device that is right may be from them, as in ``MeasureSpec``.
    ``packed_bytes`` is the artifact's size after DEFLATE. ``detail`` is None for a file that
    cannot be run on the host.
    """

    candidate: Candidate
    artifact: ArtifactRef
    parameters: int
    quality: Quality
    quality_drop: Interval
    test_quality: Quality
    test_drop: Interval
    inputs_digest: str
    expected_digest: str
    tolerance: float = 0.01
    max_abs_error: float | None = None
    unverified: str = ""
    reports: tuple[PassReport, ...] = ()
    packed_bytes: int = 0
    detail: QualityDetail | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a candidate was not built: which pass or exporter said no, and its reason.

    ``log_digest`` names the blob of what was logged until then, as in ``PassReport``.
    """

    stage: str
    reason: str
    log_digest: str = ""

    def __str__(self) -> str:
        # A pass begins its reason with its own name.
        return self.reason if self.reason.startswith(self.stage) else f"{self.stage}: {self.reason}"
