"""Core ML models as files: the tar of an .mlpackage whose bytes depend on the model alone."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distillfarm.compression import folders
from distillfarm.compression.readers import archives
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec

_PACKAGE = "model.mlpackage"
_MANIFEST, _ENTRIES, _ROOT = "Manifest.json", "itemInfoEntries", "rootModelIdentifier"
_SPEC = Path("Data/com.apple.CoreML/model.mlmodel")
_WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")


def write(model: Any, path: Path) -> None:
    """Write a ``coremltools.models.MLModel``; the same model gives the same bytes."""
    with TemporaryDirectory(dir=path.parent) as scratch:
        package = Path(scratch) / _PACKAGE
        model.save(str(package))
        # The maps of a protobuf message are stored in any order unless asked otherwise.
        (package / _SPEC).write_bytes(model.get_spec().SerializeToString(deterministic=True))
        _settle(package / _MANIFEST)
        folders.pack(package, path)


def load(path: Path, folder: Path) -> Any:
    """The ``MLModel``, unpacked below ``folder`` and not handed to a runtime.

    Raises:
        ModelRejected: no such tar, or what is in it is no model.
    """
    from coremltools.models import MLModel

    package = _unpacked(path, folder)
    try:
        return MLModel(str(package), skip_model_load=True)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelRejected(f"coremltools cannot read the model: {error}") from error


def signature(path: Path) -> Signature:
    """Inputs and outputs as the file itself declares them."""
    with TemporaryDirectory() as folder:
        description = load(path, Path(folder)).get_spec().description
    return Signature(
        tuple(map(_tensor, description.input)), tuple(map(_tensor, description.output))
    )


def census(path: Path) -> Counter[str]:
    """How often each operator of the program occurs, constants among them."""
    with TemporaryDirectory() as folder:
        spec = load(path, Path(folder)).get_spec()
    return Counter(each.type for each in operations(spec))


def operations(spec: Any) -> Iterator[Any]:
    """Every operation of an ML program, those inside loops and branches among them."""
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            yield from _of(block)


def _of(block: Any) -> Iterator[Any]:
    for each in block.operations:
        yield each
        for inner in each.blocks:
            yield from _of(inner)


def weight_bytes(path: Path) -> int:
    """The size of the file that holds the weights; 0 if all of them are in the program itself."""
    with TemporaryDirectory() as folder:
        weights = _unpacked(path, Path(folder)) / _WEIGHTS
        return weights.stat().st_size if weights.exists() else 0


def reconverted(model: Any, deployment: Any, precision: Any) -> Any:
    """The model lowered anew for a deployment target and a compute precision of coremltools."""
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load as program_of

    program = program_of(
        model_spec=model.get_spec(),
        specification_version=model.get_spec().specificationVersion,
        file_weights_dir=model.weights_dir,
    )
    return coremltools.convert(
        program,
        source="milinternal",
        convert_to="mlprogram",
        minimum_deployment_target=deployment,
        compute_precision=precision,
        skip_model_load=True,
    )


def _unpacked(path: Path, folder: Path) -> Path:
    archives.unpack_tar(path, folder)
    found = next(folder.glob("*.mlpackage"), None)
    if found is None:
        raise ModelRejected(f"{path.name} holds no .mlpackage")
    return found


def _tensor(feature: Any) -> TensorSpec:
    array = feature.type.multiArrayType
    kind = array.ArrayDataType.Name(array.dataType).lower()
    return TensorSpec(feature.name, kind, tuple(map(int, array.shape)))


def _settle(manifest: Path) -> None:
    """Name the package's items by their paths instead of by chance."""
    content = json.loads(manifest.read_text())
    fixed = {
        old: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])).upper()
        for old, item in content[_ENTRIES].items()
    }
    content[_ENTRIES] = {fixed[old]: item for old, item in content[_ENTRIES].items()}
    content[_ROOT] = fixed[content[_ROOT]]
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True))
