"""Takes in a foreign model file: what it is, that it is harmless, what goes in and out.

The tasks here run in the sandbox; ``take_in`` and ``look_at`` run them and turn a subprocess that
died of the file into the plain statement that the file was rejected.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from distillfarm.compression import analysis, evaluation, readers
from distillfarm.compression.analysis.sensitivity import Question
from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers.detect import detect
from distillfarm.domain.errors import FarmError, ModelRejected
from distillfarm.domain.model import Analysis, ModelFormat, Signature
from distillfarm.sandbox import Limits, errors, tasks
from distillfarm.sandbox.text import one_line

T = TypeVar("T")
_MAX_NAME_CHARACTERS = 200
_READING = 0.2


@dataclass(frozen=True)
class IngestRequest:
    """A foreign file to take in.

    ``factory`` is the path of the user's Python file whose ``factory_function`` builds the module
    of a state dict, ``data`` that of an ``.npz`` with arrays named like the inputs, ``evaluator``
    that of the user's metric; all may be empty. ``folder`` takes the result when it is a new file.
    """

    path: str
    folder: str
    factory: str = ""
    factory_function: str = ""
    data: str = ""
    threads: int = 1
    evaluator: str = ""
    evaluator_function: str = ""


@dataclass(frozen=True)
class Ingested:
    """A model that was found harmless and loads; ``path`` is the source itself or a new file."""

    path: str
    format: ModelFormat
    signature: Signature
    parameters: int


@dataclass(frozen=True)
class AnalyseRequest:
    """A model between passes, or an ingested one, to be analysed; without ``data`` less deeply."""

    path: str
    format: ModelFormat
    threads: int = 1
    data: str = ""
    split_seed: int = 0
    evaluator: str = ""
    evaluator_function: str = ""


def ingest(request: IngestRequest, report: Callable[[float, str], None]) -> Ingested:
    """Task: read the file without running what is in it, then open it with its runtime.

    Raises:
        ModelRejected: it is hostile, damaged or of an unknown format.
        MissingExtra: its framework is not installed.
    """
    path, found = _ingest(request, report)
    return Ingested(str(path), found.format, found.signature, found.parameters)


def inspect(request: IngestRequest, report: Callable[[float, str], None]) -> Analysis:
    """Task: ingest and analyse in one go.

    Raises:
        ModelRejected: as for ``ingest``.
        InvalidRequest: the data do not fit the model.
    """
    path, counted = _ingest(request, lambda done, text: report(_READING * done, text))
    asked = AnalyseRequest(
        str(path),
        counted.format,
        request.threads,
        request.data,
        evaluator=request.evaluator,
        evaluator_function=request.evaluator_function,
    )
    found = analyse(asked, lambda done, text: report(_READING + (1 - _READING) * done, text))
    # People ask about the file that they named, not about what it was packed into.
    source = Path(request.path)
    return replace(found, format=detect(source), size_bytes=source.stat().st_size)


def analyse(request: AnalyseRequest, report: Callable[[float, str], None]) -> Analysis:
    """Task: what is known of a model that was ingested before."""
    model = WorkingModel(Path(request.path), request.format)
    return analysis.analyse(model, request.threads, report, _question(request))


def _question(request: AnalyseRequest) -> Question | None:
    if not request.data:
        return None
    metric: evaluation.Metric = evaluation.Accuracy()
    if request.evaluator:
        metric = evaluation.user_metric(Path(request.evaluator), request.evaluator_function)
    return Question(Path(request.data), request.split_seed, metric)


def _ingest(request: IngestRequest, report: Callable[[float, str], None]) -> tuple[Path, Analysis]:
    path = Path(request.path)
    report(0.1, "reading the model")
    model_format = detect(path)
    source = readers.Source(
        path,
        Path(request.folder),
        Path(request.factory) if request.factory else None,
        request.factory_function,
        Path(request.data) if request.data else None,
    )
    try:
        model = readers.read(source, model_format)
        report(0.5, f"opening the {model_format.value} model")
        found = analysis.count(model, request.threads)
    except (FarmError, MemoryError, OSError):
        raise
    except Exception as error:
        # Parsers raise anything on damaged bytes: struct.error, zlib.error, KeyError, ...
        raise ModelRejected(f"the file is damaged: {type(error).__name__}: {error}") from error
    _check_names(found.signature)
    return model.path, found


def _check_names(signature: Signature) -> None:
    """Refuse names that would forge lines, paths or pages wherever they are shown or stored."""
    specs = (*signature.inputs, *signature.outputs)
    if not signature.inputs or not signature.outputs:
        raise ModelRejected("the model has no inputs or no outputs")
    for spec in specs:
        plain = one_line(spec.name, _MAX_NAME_CHARACTERS) == spec.name
        if not plain or not spec.name or ".." in spec.name.split("/"):
            raise ModelRejected(
                f"the model names an input or output {one_line(repr(spec.name), 80)}; rename it"
            )
    for side in (signature.inputs, signature.outputs):
        names = [spec.name for spec in side]
        if len(set(names)) != len(names):
            raise ModelRejected(f"two inputs or outputs of the model share a name: {names}")


@dataclass(frozen=True)
class _How:
    """How the caller wants a task to be run."""

    limits: Limits
    report: Callable[[float, str], None]
    cancelled: Callable[[], bool]


def take_in(
    request: IngestRequest,
    *,
    limits: Limits,
    report: Callable[[float, str], None] = tasks.ignore_progress,
    cancelled: Callable[[], bool] = tasks.never_cancelled,
) -> Ingested:
    """Run ``ingest`` in the sandbox, in ``request.folder``.

    Raises:
        ModelRejected: the file is hostile or broken, or the subprocess died of it.
        MissingExtra: its framework is not installed.
        Cancelled: ``cancelled`` said so.
    """
    how = _How(limits, report, cancelled)
    return _sandboxed(ingest, request, Ingested, how)


def look_at(
    request: IngestRequest,
    *,
    limits: Limits,
    report: Callable[[float, str], None] = tasks.ignore_progress,
    cancelled: Callable[[], bool] = tasks.never_cancelled,
) -> Analysis:
    """Run ``inspect`` in the sandbox, in ``request.folder``.

    Raises:
        ModelRejected, MissingExtra, Cancelled: as for ``take_in``.
    """
    how = _How(limits, report, cancelled)
    return _sandboxed(inspect, request, Analysis, how)


def _sandboxed(
    task: Callable[[IngestRequest, Callable[[float, str], None]], T],
    request: IngestRequest,
    result_type: type[T],
    how: _How,
) -> T:
    try:
        return tasks.run(
            f"{__name__}:{task.__name__}",
            request,
            result_type,
            limits=how.limits,
            folder=Path(request.folder),
            report=how.report,
            cancelled=how.cancelled,
        )
    except errors.TaskDied as error:
        # A damaged file may end a runtime by a segmentation fault, a hostile one by its limits.
        raise ModelRejected(f"reading the model ended badly: {error}") from error
