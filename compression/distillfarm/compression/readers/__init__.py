"""One reader for each source format: proves a foreign file harmless and makes it one file."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import MissingExtra, ModelRejected
from distillfarm.domain.model import ModelFormat


@dataclass(frozen=True)
class Source:
    """A foreign file and what its owner says of it.

    ``factory`` is the user's Python file whose ``factory_function`` builds the module of a state
    dict; ``data`` an ``.npz`` with arrays named like the inputs. Each may be missing.
    """

    path: Path
    folder: Path
    factory: Path | None = None
    factory_function: str = ""
    data: Path | None = None


_READERS = {
    ModelFormat.KERAS: "keras",
    ModelFormat.ONNX: "onnx",
    ModelFormat.SAVED_MODEL: "saved_model",
    ModelFormat.TFLITE: "tflite",
    ModelFormat.TORCH_EXPORT: "torch_export",
    ModelFormat.TORCH_MODULE: "torch_module",
    ModelFormat.TORCH_STATE: "torch_state",
}
_OF_TENSORFLOW = (ModelFormat.KERAS, ModelFormat.SAVED_MODEL)


def read(source: Source, model_format: ModelFormat) -> WorkingModel:
    """Check ``source`` and give one harmless file: itself, or a new one in ``source.folder``.

    Raises:
        ModelRejected: it is hostile or broken, or nothing reads this format.
        MissingExtra: the framework of the format is not installed.
    """
    if model_format not in _READERS:
        raise ModelRejected(
            f"{model_format.value} models are outputs; give the model that they were made from"
        )
    try:
        module = import_module(f"distillfarm.compression.readers.{_READERS[model_format]}")
    except ImportError as error:
        extra = "tensorflow" if model_format in _OF_TENSORFLOW else "compression"
        raise MissingExtra(
            f"{model_format.value} models need pip install 'distillfarm[{extra}]': {error}"
        ) from error
    reader: Callable[[Source], WorkingModel] = module.read
    return reader(source)
