"""What ``distillfarm inspect`` asks: everything about a model on disk, found in the sandbox."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from distillfarm.compression import ingest
from distillfarm.compression.sources import model_file
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import Analysis
from distillfarm.sandbox import Limits, tasks

LIMITS = Limits(memory_bytes=6 * 1024**3, wall_s=180.0, disk_bytes=9 * 1024**3)


def inspect(
    path: Path,
    *,
    factory: str = "",
    data: Path | None = None,
    evaluator: str = "",
    report: Callable[[float, str], None] = tasks.ignore_progress,
    cancelled: Callable[[], bool] = tasks.never_cancelled,
    limits: Limits = LIMITS,
) -> Analysis:
    """Read and analyse the model at ``path``.

    ``factory`` and ``evaluator`` are ``file.py:function`` or empty. With ``data``, an .npz as a
    study takes it, the analysis says what each layer minds.

    Raises:
        InvalidRequest: there is no such file, the data do not fit the model, or ``factory`` or
            ``evaluator`` is not of that form.
        ModelRejected: the model is hostile, damaged or of an unknown format.
        MissingExtra: the framework of its format is not installed.
    """
    factory_path, function = split_factory(factory)
    evaluator_path, metric = split_factory(evaluator, "evaluator")
    if data is not None and not data.is_file():
        raise InvalidRequest(f"data: there is no file {data}")
    if evaluator and data is None:
        raise InvalidRequest("an evaluator judges answers on data; give --data too")
    with TemporaryDirectory(prefix="distillfarm-inspect-") as scratch:
        request = ingest.IngestRequest(
            path=str(model_file(path, Path(scratch)).resolve()),
            folder=f"{scratch}/work",
            factory=str(factory_path.resolve()) if factory_path else "",
            factory_function=function,
            data=str(data.resolve()) if data else "",
            evaluator=str(evaluator_path.resolve()) if evaluator_path else "",
            evaluator_function=metric,
        )
        return ingest.look_at(request, limits=limits, report=report, cancelled=cancelled)


def split_factory(factory: str, what: str = "factory") -> tuple[Path | None, str]:
    """The file and the function of ``file.py:function``; nothing of an empty text.

    Raises:
        InvalidRequest: it is not of that form, or there is no such file.
    """
    if not factory:
        return None, ""
    file, _, function = factory.rpartition(":")
    if not file or not function.isidentifier():
        raise InvalidRequest(f"{what} {factory!r}: write file.py:function")
    if not Path(file).is_file():
        raise InvalidRequest(f"{what} {factory!r}: there is no file {file}")
    return Path(file), function
