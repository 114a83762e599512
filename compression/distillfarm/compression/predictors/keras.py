"""Runs Keras models on whichever backend this process has."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distillfarm.compression import keras_models
from distillfarm.compression.datasets import Array
from distillfarm.compression.predictors.base import Predictor
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec


class KerasPredictor(Predictor):
    """A Keras model; its outputs are called as Keras itself calls them in its exports."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        del plain  # Keras models run eagerly
        keras_models.pin_threads(threads)
        with TemporaryDirectory() as folder:
            self._model = keras_models.load(path, Path(folder))
        self.signature = signature(self._model)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One call of the model."""
        import keras

        given = [inputs[each.name] for each in self.signature.inputs]
        try:
            answers = self._model(given if len(given) > 1 else given[0], training=False)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelRejected(f"Keras cannot run the model: {error}") from error
        names = [each.name for each in self.signature.outputs]
        listed = keras.tree.flatten(answers)
        return {
            name: keras.ops.convert_to_numpy(each) for name, each in zip(names, listed, strict=True)
        }


def signature(model: Any) -> Signature:
    """Inputs by their own names, outputs as ``output_<n>``."""
    return Signature(
        tuple(_spec(each.name, each) for each in model.inputs),
        tuple(_spec(f"output_{index}", each) for index, each in enumerate(model.outputs)),
    )


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = tuple(-1 if size is None else int(size) for size in tensor.shape)
    return TensorSpec(name, str(tensor.dtype), shape)
