"""Runs TensorFlow SavedModels through their serving signature."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow

from distillfarm.compression import keras_models
from distillfarm.compression.datasets import Array
from distillfarm.compression.predictors.base import Predictor
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec

_SIGNATURE = "serving_default"


class SavedModelPredictor(Predictor):
    """The signature ``serving_default``, with its own names of inputs and outputs."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        del plain
        keras_models.pin_tensorflow_threads(threads)
        # The variables are read lazily: the folder must live as long as the model.
        self._folder = TemporaryDirectory()
        folder = keras_models.unpack_saved_model(path, Path(self._folder.name))
        try:
            self._loaded = tensorflow.saved_model.load(str(folder))
        except (OSError, ValueError, RuntimeError, tensorflow.errors.OpError) as error:
            raise ModelRejected(f"TensorFlow cannot load the SavedModel: {error}") from error
        if _SIGNATURE not in self._loaded.signatures:
            raise ModelRejected(f"the SavedModel has no signature {_SIGNATURE}; export it with one")
        self._call = self._loaded.signatures[_SIGNATURE]
        self.signature = Signature(
            _specs(self._call.structured_input_signature[1]),
            _specs(self._call.structured_outputs),
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One call of the signature."""
        try:
            answers = self._call(
                **{name: tensorflow.constant(each) for name, each in inputs.items()}
            )
        except tensorflow.errors.OpError as error:
            raise ModelRejected(f"TensorFlow cannot run the model: {error}") from error
        return {name: each.numpy() for name, each in answers.items()}


def _specs(named: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, each.dtype.name, tuple(size or -1 for size in each.shape))
        for name, each in sorted(named.items())
    )
