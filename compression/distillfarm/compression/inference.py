"""Opens a model of any format on the host: named arrays in, named arrays out."""

from importlib import import_module

from distillfarm.compression.extras import missing
from distillfarm.compression.predictors.base import Predictor
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat

_PREDICTORS = {
    ModelFormat.COREAI: "coreai:CoreAiPredictor",
    ModelFormat.EXECUTORCH: "executorch:ExecuTorchPredictor",
    ModelFormat.KERAS: "keras:KerasPredictor",
    ModelFormat.ONNX: "onnx:OnnxPredictor",
    ModelFormat.SAVED_MODEL: "saved_model:SavedModelPredictor",
    ModelFormat.TFLITE: "tflite:TfLitePredictor",
    ModelFormat.TORCH_EXPORT: "torch:TorchExportPredictor",
    ModelFormat.TORCH_MODULE: "torch:TorchModulePredictor",
}
RUNNABLE = frozenset(_PREDICTORS)


def open_model(model: WorkingModel, threads: int, plain: bool = False) -> Predictor:
    """Load a model; may run the user's code or crash, so only in a sandbox.

    ``plain`` turns the runtime's graph optimisations and delegates off, where it has any.

    Raises:
        ModelRejected: its runtime cannot load it, or it has no runtime here.
        MissingExtra: the runtime is not installed.
    """
    if model.format not in _PREDICTORS:
        raise ModelRejected(f"{model.format.value} models cannot be run on this computer")
    module, _, name = _PREDICTORS[model.format].partition(":")
    try:
        predictor = getattr(import_module(f"distillfarm.compression.predictors.{module}"), name)
    except ImportError as error:
        raise missing(f"a {model.format.value} model", error) from error
    loaded: Predictor = predictor(model.path, threads, plain)
    return loaded
