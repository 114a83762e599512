"""What a compression worker can be asked, what it answers, and the id that makes answers a cache.

A request's id is derived from everything that decides its answer: the digests of model and data,
the pass with its settings, the seed, and the code of this package. A finished workflow under that
id *is* the cached answer, shared by candidates with a common prefix, by studies and by workers.
"""

import hashlib
import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from typing import Protocol

from distillfarm.compression.protocols import ExportRefused, PassRefused
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Target
from distillfarm.domain.ids import derived_id
from distillfarm.domain.model import Analysis, Dataset, SourceModel
from distillfarm.domain.variant import Exported, PassSpec, Refusal, Variant

Report = Callable[[float, str], None]
IsCancelled = Callable[[], bool]

QUEUE = "compression"
# The controller's workflows belong to another application, so neither side recovers the other's.
APPLICATION = "distillfarm-compression"
# A step that ended its worker this often is given up: it would end the next one too.
MAX_ATTEMPTS = 5
_PLUGIN_GROUPS = ("distillfarm.passes", "distillfarm.exporters")


@dataclass(frozen=True)
class Ingest:
    """Read a model file, once and for all; the data show the shapes of a state dict's inputs."""

    source: SourceModel
    dataset: Dataset


@dataclass(frozen=True)
class Analyse:
    """Find out what a model is made of; with data, what its layers mind."""

    variant: Variant
    dataset: Dataset | None = None


@dataclass(frozen=True)
class ApplyPass:
    """Apply one pass of a recipe."""

    variant: Variant
    spec: PassSpec
    dataset: Dataset
    teacher: Variant
    seed: int


@dataclass(frozen=True)
class Convert:
    """Write a variant in the format of a target's runtime, for further passes."""

    variant: Variant
    target: Target
    dataset: Dataset
    teacher: Variant
    seed: int


@dataclass(frozen=True)
class Export:
    """Write a variant for a target, verify and judge it."""

    variant: Variant
    target: Target
    dataset: Dataset
    teacher: Variant
    seed: int


Request = Ingest | Analyse | ApplyPass | Convert | Export

WORKFLOW_NAMES: dict[type[Request], str] = {
    Ingest: "ingest",
    Analyse: "analyse",
    ApplyPass: "apply_pass",
    Convert: "convert",
    Export: "export",
}


class AnyWorkshop(Protocol):
    """Who does the work: ``workshop.Workshop``, whose methods and errors these are."""

    def ingest(
        self, source: SourceModel, dataset: Dataset, *, report: Report, cancelled: IsCancelled
    ) -> Variant:
        """Read a model file."""

    def analyse(
        self, variant: Variant, dataset: Dataset | None, *, report: Report, cancelled: IsCancelled
    ) -> Analysis:
        """Find out what a model is made of."""

    def apply(
        self,
        variant: Variant,
        spec: PassSpec,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report,
        cancelled: IsCancelled,
    ) -> Variant:
        """Apply one pass."""

    def convert(
        self,
        variant: Variant,
        target: Target,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report,
        cancelled: IsCancelled,
    ) -> Variant:
        """Change the file format for a target."""

    def export(
        self,
        variant: Variant,
        target: Target,
        dataset: Dataset,
        teacher: Variant,
        seed: int,
        *,
        report: Report,
        cancelled: IsCancelled,
    ) -> Exported:
        """Write, verify and judge the artifact for a target."""


@dataclass(frozen=True)
class Answer:
    """What came of a request: exactly one of the first four is set.

    A ``refusal`` is an answer like any other: the same request is refused again. ``worker`` is
    who worked it out.
    """

    variant: Variant | None = None
    analysis: Analysis | None = None
    exported: Exported | None = None
    refusal: Refusal | None = None
    worker: str = ""

    def digests(self) -> tuple[str, ...]:
        """The blobs that this answer is worthless without."""
        if self.variant is not None:
            runnable = self.variant.runnable
            return (self.variant.artifact.digest, *((runnable.digest,) if runnable else ()))
        if self.exported is not None:
            named = (self.exported.inputs_digest, self.exported.expected_digest)
            return (self.exported.artifact.digest, *filter(None, named))
        return ()


@dataclass(frozen=True)
class Progress:
    """What a running step says of itself beside its row in the workflow database.

    ``beat`` grows while the worker lives; its value means nothing else, so clocks need not agree.
    """

    text: str = ""
    fraction: float = 0.0
    beat: int = 0


def title(request: Request) -> str:
    """The request in words, for progress and refusals."""
    match request:
        case Ingest():
            return "ingest"
        case Analyse():
            return "analyse"
        case ApplyPass(spec=spec):
            return str(spec)
        case Convert(target=target):
            return f"conversion for {target}"
        case Export(target=target):
            return f"export to {target}"


def request_id(request: Request) -> str:
    """The id of the workflow that answers ``request``: the same for the same inputs and code."""
    return derived_id(WORKFLOW_NAMES[type(request)], code_version(), *_inputs(request))


def perform(
    request: Request,
    workshop: AnyWorkshop,
    report: Report,
    cancelled: IsCancelled,
) -> Answer:
    """Work out the answer.

    Raises:
        FarmError: the harness's fault or a limit was hit; asking again may help.
    """
    try:
        match request:
            case Ingest(source, dataset):
                return Answer(
                    variant=workshop.ingest(source, dataset, report=report, cancelled=cancelled)
                )
            case Analyse(variant, dataset):
                return Answer(
                    analysis=workshop.analyse(variant, dataset, report=report, cancelled=cancelled)
                )
            case ApplyPass(variant, spec, dataset, teacher, seed):
                return Answer(
                    variant=workshop.apply(
                        variant, spec, dataset, teacher, seed, report=report, cancelled=cancelled
                    )
                )
            case Convert(variant, target, dataset, teacher, seed):
                return Answer(
                    variant=workshop.convert(
                        variant, target, dataset, teacher, seed, report=report, cancelled=cancelled
                    )
                )
            case Export(variant, target, dataset, teacher, seed):
                return Answer(
                    exported=workshop.export(
                        variant, target, dataset, teacher, seed, report=report, cancelled=cancelled
                    )
                )
    except (PassRefused, ExportRefused, InvalidRequest) as error:
        log_digest = "" if isinstance(error, InvalidRequest) else error.log_digest
        return Answer(refusal=Refusal(title(request), str(error), log_digest))


@cache
def code_version() -> str:
    """A digest of this package's sources and the plug-ins beside it; part of every request's id.

    Workers take only requests of their own version, since others would answer differently.
    """
    content = hashlib.sha256()
    for module in _sources(importlib.resources.files("distillfarm.compression")):
        content.update(module.read_bytes())
    for group in _PLUGIN_GROUPS:
        for plugin in sorted(entry_points(group=group)):
            version = plugin.dist.version if plugin.dist else ""
            content.update(f"{group} {plugin.name}={plugin.value} {version}\n".encode())
    return content.hexdigest()[:16]


def _sources(folder: Traversable) -> list[Traversable]:
    found: list[Traversable] = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            found.extend(_sources(entry))
        elif entry.name.endswith(".py"):
            found.append(entry)
    return found


def _inputs(request: Request) -> tuple[str, ...]:
    match request:
        case Ingest(source, dataset):
            return (
                source.artifact.digest,
                source.artifact.format.value,
                source.factory_digest,
                source.factory_function,
                source.student_digest,
                source.student_function,
                # Every other format says itself what goes in.
                dataset.digest if source.factory_digest else "",
            )
        case Analyse(variant, dataset):
            return (*_variant(variant), *(_dataset(dataset) if dataset else ()))
        case ApplyPass(variant, spec, dataset, teacher, seed):
            return (*_variant(variant), str(spec), *_context(dataset, teacher, seed))
        case Convert(variant, target, dataset, teacher, seed) | Export(
            variant, target, dataset, teacher, seed
        ):
            return (*_variant(variant), str(target), *_context(dataset, teacher, seed))


def _variant(variant: Variant) -> tuple[str, ...]:
    return (variant.artifact.digest, str(variant.recipe))


def _dataset(dataset: Dataset) -> tuple[str, ...]:
    return (
        dataset.digest,
        dataset.evaluator_digest,
        dataset.evaluator_function,
        str(dataset.seed),
    )


def _context(dataset: Dataset, teacher: Variant, seed: int) -> tuple[str, ...]:
    return (
        *_dataset(dataset),
        teacher.artifact.digest,
        teacher.student_digest,
        teacher.student_function,
        str(seed),
    )
