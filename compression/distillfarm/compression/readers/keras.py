"""Reads Keras files: no Lambda, no class from outside Keras, no array that is not there."""

import json
import math
from collections.abc import Iterator

import h5py

from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers import Source, archives
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat

# Keras' safe mode refuses most of these by itself, but ways around it were found (CVE-2025-1550,
# CVE-2025-8747, CVE-2025-9905), so the configuration is read here before Keras sees it.
_CODE = ("Lambda", "__lambda__", "function", "TorchModuleWrapper", "TFSMLayer")
_MAX_ARRAY_BYTES = 8 * 1024**3
_WEIGHTS = "model.weights.h5"
_MAX_DEPTH = 50
# Weights hardly shrink; an array that is mostly not there is a trap.
_MAX_INFLATION, _SMALL_BYTES = 100, 1024


def read(source: Source) -> WorkingModel:
    """The file itself."""
    with source.path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        names = {each.filename for each in archives.members(source.path)}
        _check_config(archives.member(source.path, "config.json"))
        if _WEIGHTS not in names:
            raise ModelRejected(f"the Keras file holds no {_WEIGHTS}")
        weights = source.folder / _WEIGHTS
        weights.write_bytes(archives.member(source.path, _WEIGHTS))
        _check_arrays(str(weights))
        weights.unlink()
    else:
        _check_config(_check_arrays(str(source.path)))
    return WorkingModel(source.path, ModelFormat.KERAS)


def _check_config(text: bytes | str) -> None:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelRejected(f"the Keras configuration is damaged: {error}") from error
    for each in _objects(config):
        name, module = each.get("class_name"), each.get("module")
        if name in _CODE:
            raise ModelRejected(f"the Keras model holds code ({name}); replace it by layers")
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            raise ModelRejected(f"the Keras model needs {module}.{name}, which is not of Keras")


def _objects(value: object) -> Iterator[dict[str, object]]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _check_arrays(path: str) -> str:
    """Refuse arrays larger than what the file can hold; the old format's configuration."""
    total_bytes = 0

    def add(name: str, item: h5py.HLObject) -> None:
        nonlocal total_bytes
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise ModelRejected(f"array {name!r} of the Keras file lies in another file")
        if item.dtype.kind in "fiub":
            declared_bytes = math.prod(item.shape) * item.dtype.itemsize
            held_bytes = item.id.get_storage_size()
            if declared_bytes > max(_SMALL_BYTES, _MAX_INFLATION * held_bytes):
                raise ModelRejected(
                    f"array {name!r} of the Keras file declares {declared_bytes:,} bytes but"
                    f" holds {held_bytes:,}"
                )
            total_bytes += declared_bytes

    try:
        with h5py.File(path, "r") as file:
            _refuse_links(file)
            file.visititems(add)
            config = file.attrs.get("model_config", "{}")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelRejected(f"the HDF5 file is damaged: {error}") from error
    if total_bytes > _MAX_ARRAY_BYTES:
        raise ModelRejected(f"the Keras file declares {total_bytes / 1e9:.0f} GB of arrays")
    return config.decode(errors="replace") if isinstance(config, bytes) else str(config)


def _refuse_links(group: h5py.Group) -> None:
    waiting = [group]
    while waiting:
        each = waiting.pop()
        for name in each:
            if isinstance(each.get(name, getlink=True), h5py.ExternalLink):
                raise ModelRejected(f"{name!r} of the Keras file lies in another file")
            item = each.get(name)
            if isinstance(item, h5py.Group) and item.name.count("/") < _MAX_DEPTH:
                waiting.append(item)
