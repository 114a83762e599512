"""Core AI models as files: the tar of an .aimodel whose bytes depend on the model alone."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distillfarm.compression import folders
from distillfarm.compression.readers import archives
from distillfarm.domain.errors import ModelRejected

_ASSET = "model.aimodel"
_PROGRAM, _HASH, _METADATA = "main.mlirb", "main.hash", "metadata.json"
_NO_TIME = "19700101T000000Z"


def write(program: Any, path: Path) -> None:
    """Write a ``coreai.authoring.AIProgram``; the same program gives the same bytes."""
    with TemporaryDirectory(dir=path.parent) as scratch:
        asset = Path(scratch) / _ASSET
        program.save_asset(asset)
        _settle(asset / _METADATA)
        folders.pack(asset, path)


def load(path: Path, folder: Path) -> Any:
    """The ``coreai.authoring.AIModelAsset``, unpacked below ``folder`` and not compiled.

    The library ends its process over a program that is damaged, so its hash is looked at first.

    Raises:
        ModelRejected: no such tar, or what is in it is no model.
    """
    from coreai.authoring import AIModelAsset

    archives.unpack_tar(path, folder)
    asset = next(folder.glob("*.aimodel"), None)
    if asset is None:
        raise ModelRejected(f"{path.name} holds no .aimodel")
    try:
        whole = hashlib.sha256((asset / _PROGRAM).read_bytes()).digest()
        sound = whole == (asset / _HASH).read_bytes()
    except OSError as error:
        raise ModelRejected(f"the .aimodel in {path.name} lacks a file: {error}") from error
    if not sound:
        raise ModelRejected(f"the .aimodel in {path.name} is damaged: its hash is another")
    try:
        return AIModelAsset.load(asset)
    except RuntimeError as error:
        raise ModelRejected(f"coreai cannot read the model: {error}") from error


def census(path: Path) -> Counter[str]:
    """How often each operator of the program occurs, constants among them."""
    with TemporaryDirectory() as folder:
        summary = load(path, Path(folder)).summary(include_statistics=True)
        return Counter(dict(summary.operation_distribution))


def _settle(metadata: Path) -> None:
    """Forget when it was made."""
    content = json.loads(metadata.read_text())
    content["creationDate"] = _NO_TIME
    metadata.write_text(json.dumps(content, indent=2, sort_keys=True))
