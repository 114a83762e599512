"""The user's files, as a study or a measurement names them: formats and ``file.py:function``."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import ModelFormat

_SUFFIXES = {
    ".onnx": ModelFormat.ONNX,
    ".tflite": ModelFormat.TFLITE,
    ".pt2": ModelFormat.TORCH_EXPORT,
    ".pt": ModelFormat.TORCH_STATE,
    ".pth": ModelFormat.TORCH_STATE,
    ".safetensors": ModelFormat.TORCH_STATE,
    ".keras": ModelFormat.KERAS,
    ".h5": ModelFormat.KERAS,
    ".hdf5": ModelFormat.KERAS,
}
_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")


@dataclass(frozen=True)
class FunctionInFile:
    """``file.py:function``; never imported here, only in a sandbox."""

    path: Path
    name: str


def parse_function(text: str, what: str) -> FunctionInFile:
    """Read ``file.py:function``.

    Raises:
        InvalidRequest: not of that form, or no such file.
    """
    file, separator, name = text.rpartition(":")
    if not separator or not name.isidentifier():
        raise InvalidRequest(f"{what} {text!r}: write file.py:function")
    return FunctionInFile(existing(Path(file), what), name)


def existing(path: Path, what: str) -> Path:
    """The path of a file that is there.

    Raises:
        InvalidRequest: there is no such file.
    """
    if not path.is_file():
        raise InvalidRequest(f"{what} {path}: no such file")
    return path


def format_of(path: Path) -> ModelFormat:
    """The format that a file's name says; its content is looked at in a sandbox only.

    Raises:
        InvalidRequest: no such file, or a name that tells no format.
    """
    if path.is_dir():
        if any((path / name).is_file() for name in _SAVED_MODEL_FILES):
            return ModelFormat.SAVED_MODEL
        raise InvalidRequest(f"model {path}: a folder that is no SavedModel")
    existing(path, "model")
    try:
        return _SUFFIXES[path.suffix.lower()]
    except KeyError as error:
        raise InvalidRequest(
            f"model {path}: its name tells no format; known are {', '.join(_SUFFIXES)} "
            "and SavedModel folders"
        ) from error


@contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """One file for a model: a folder is packed as an uncompressed tar, without links."""
    if not path.is_dir():
        yield path
        return
    with TemporaryDirectory(prefix="distillfarm-") as scratch:
        packed = Path(scratch) / f"{path.resolve().name}.tar"
        with tarfile.open(packed, "w") as archive:
            archive.add(path, arcname=".", filter=_plain)
        yield packed


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files and folders alone, with nothing of who and when, so that equal models are equal."""
    if not (entry.isfile() or entry.isdir()):
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry
