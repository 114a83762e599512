"""The user's files, as a study or a measurement names them: formats and ``file.py:function``."""

from dataclasses import dataclass
from pathlib import Path

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import ModelFormat

_SUFFIXES = {
    ".onnx": ModelFormat.ONNX,
    ".tflite": ModelFormat.TFLITE,
    ".pt2": ModelFormat.TORCH_EXPORT,
    ".pt": ModelFormat.TORCH_STATE,
    ".pth": ModelFormat.TORCH_STATE,
    ".bin": ModelFormat.TORCH_STATE,
    ".ckpt": ModelFormat.TORCH_STATE,
    ".safetensors": ModelFormat.TORCH_STATE,
    ".keras": ModelFormat.KERAS,
    ".h5": ModelFormat.KERAS,
    ".hdf5": ModelFormat.KERAS,
    ".pte": ModelFormat.EXECUTORCH,
    ".mlpackage.tar": ModelFormat.COREML,
    ".aimodel.tar": ModelFormat.COREAI,
}


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
        has_onnx = any(path.glob("*.onnx"))
        return ModelFormat.ONNX if has_onnx else ModelFormat.SAVED_MODEL
    existing(path, "model")
    for suffix, found in _SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return found
    raise InvalidRequest(
        f"model {path}: its name tells no format; known are {', '.join(_SUFFIXES)} "
        "and SavedModel folders"
    )
