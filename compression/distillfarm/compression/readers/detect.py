"""Tells a model file's format by its content, never by its name."""

import tarfile
from collections.abc import Callable
from pathlib import Path

from distillfarm.compression.readers.archives import members
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat

_HEAD_BYTES = 512
_KNOWN = "ONNX, TFLite, torch.export .pt2, PyTorch state dict, Keras or SavedModel"


def detect(path: Path) -> ModelFormat:
    """The format of the file at ``path``.

    Raises:
        ModelRejected: it is of no known format, or of one that is not read, with the way out.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise ModelRejected("the file is empty")
    for offset, magic, found in _MAGIC:
        if head[offset:].startswith(magic):
            return found(path) if callable(found) else found
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return ModelFormat.TORCH_STATE  # safetensors
    if _is_onnx(path):
        return ModelFormat.ONNX
    raise ModelRejected(f"the file is not recognised as {_KNOWN}; it may be damaged")


def _of_zip(path: Path) -> ModelFormat:
    names = [each.filename for each in members(path)]
    inside = {name.partition("/")[2] for name in names}
    if {"module.json", "weights.safetensors"} <= set(names):
        return ModelFormat.TORCH_MODULE
    if "config.json" in names and "metadata.json" in names:
        return ModelFormat.KERAS
    if "archive_format" in inside or "serialized_exported_program.json" in names:
        return ModelFormat.TORCH_EXPORT
    if any(name.startswith("code/") for name in inside):
        raise ModelRejected(
            "TorchScript holds code and is not read; save torch.export.save(...) or a state_dict()"
        )
    if "data.pkl" in inside:
        return ModelFormat.TORCH_STATE
    if any(name.endswith("Manifest.json") for name in names):
        return ModelFormat.COREML
    raise ModelRejected(f"the zip archive is not recognised as {_KNOWN}")


def _of_tar(path: Path) -> ModelFormat:
    try:
        with tarfile.open(path, "r:") as archive:
            names = [member.name for member in archive]
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ModelRejected(f"the tar archive is damaged: {error}") from error
    if any(name.rpartition("/")[2] == "saved_model.pb" for name in names):
        return ModelFormat.SAVED_MODEL
    if any(name.endswith(".onnx") for name in names):
        return ModelFormat.ONNX
    raise ModelRejected("the folder holds neither a saved_model.pb nor an .onnx file")


def _is_onnx(path: Path) -> bool:
    """Whether it parses as a ``ModelProto`` with a version and a graph."""
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        return False
    return bool(model.ir_version > 0 and model.HasField("graph"))


_MAGIC: tuple[tuple[int, bytes, ModelFormat | Callable[[Path], ModelFormat]], ...] = (
    (4, b"TFL3", ModelFormat.TFLITE),
    (4, b"ET", ModelFormat.EXECUTORCH),
    (0, b"\x89HDF\r\n\x1a\n", ModelFormat.KERAS),
    (0, b"PK", _of_zip),
    (257, b"ustar", _of_tar),
    # Pickles of PyTorch before 1.6, in each version of the protocol.
    *((0, b"\x80" + version, ModelFormat.TORCH_STATE) for version in (b"\2", b"\3", b"\4", b"\5")),
)
