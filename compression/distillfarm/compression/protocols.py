"""The seams of compression: what a pass, an exporter and a sampler promise.

Passes and exporters are synchronous, run only inside a worker's sandboxed subprocess, never edit
their input and give the same bytes for the same input, parameters and seed. A refusal is raised as
``PassRefused`` or ``ExportRefused`` with the operator or layer named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from distillfarm.domain.errors import FarmError
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import Candidate, CurvePoint, PassSpec


class _Refused(FarmError):
    """``log_digest`` names the blob of what was logged until then, empty before it is kept."""

    log_digest: str = ""


class PassRefused(_Refused):
    """A pass cannot be applied to this model; the text names the operator, layer or setting."""


class ExportRefused(_Refused):
    """A model cannot be exported to this target; the text names the operator."""


@dataclass(frozen=True)
class WorkingModel:
    """A model in the middle of a recipe: one file.

    A PyTorch model is TORCH_EXPORT as its owner handed it in, or TORCH_MODULE, which
    ``compression.torch_models`` reads and writes; ingesting packs a state dict with its factory.
    """

    path: Path
    format: ModelFormat


@dataclass(frozen=True)
class Workspace:
    """Where a pass works: a scratch folder of its own, the data, the original, progress.

    ``data`` is the .npz of the data set and ``split_seed`` decides its split; ``teacher`` is the
    source model, untouched, for distillation and for reference outputs, which are kept in
    ``cache``. ``report`` takes (done 0..1, text) and must be called at least every few seconds in
    long work. ``curve`` collects learning-curve points, ``notes`` sentences for people: layers left
    alone, ranks chosen, what the gain depends on. ``checkpoints`` outlives the process: what it
    holds when the same work is begun again is where that goes on; it is deleted after success or a
    refusal, and None where the same work is under way elsewhere.
    ``student`` is the user's factory for distillation as (file, function), if there is one.
    """

    folder: Path
    cache: Path
    data: Path
    split_seed: int
    teacher: WorkingModel
    seed: int
    threads: int
    report: Callable[[float, str], None]
    checkpoints: Path | None = None
    student: tuple[Path, str] | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Promise(Enum):
    """What a pass makes smaller, which the gate holds it to."""

    FEWER_PARAMETERS = "fewer parameters"
    SMALLER_FILE = "a smaller file"
    SMALLER_PACKED = "a file that packs smaller"
    SAME_SIZE = "other weights of the same size"


class Pass(Protocol):
    """One compression technique.

    The module that holds it imports no framework at its top: planning asks ``formats``, ``gives``
    and ``check`` in processes that never load one.
    """

    name: str
    formats: frozenset[ModelFormat]
    """The formats of file that it takes."""
    gives: ModelFormat | None
    """The format of its result; None when it is that of its input."""
    promise: Promise
    """What must have become smaller afterwards."""

    def check(self, spec: PassSpec) -> None:
        """Read the settings.

        Raises:
            InvalidRequest: an unknown setting or a value out of its range.
        """

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Apply the technique; the result lies in ``workspace.folder``."""


class Exporter(Protocol):
    """Writes a model in the format of a target's runtime."""

    format: ModelFormat
    sources: frozenset[ModelFormat]
    """The formats that it can turn into ``format``, itself among them."""

    def export(self, source: WorkingModel, target: Target, workspace: Workspace) -> Path:
        """Write the artifact; inputs and outputs keep the source's names."""

    def verify(self, path: Path, reference: WorkingModel, workspace: Workspace) -> float:
        """The largest absolute difference to ``reference`` on fixed inputs.

        Raises:
            MissingExtra: the runtime does not run here; the artifact is then unverified.
        """


@dataclass(frozen=True)
class Observation:
    """What a candidate scored: ``objectives`` are minimised, ``violations`` > 0 break a bound.

    Both are None when the candidate was refused or failed.
    """

    candidate: Candidate
    objectives: tuple[float, ...] | None
    violations: tuple[float, ...] | None


class Sampler(Protocol):
    """Chooses which candidates to try next; no clock, no I/O, repeatable for a seed."""

    def ask(self, count: int) -> Sequence[Candidate]:
        """At most ``count`` candidates not asked for before; empty when the space is used up."""

    def tell(self, observation: Observation) -> None:
        """Learn what a candidate scored."""
