"""Counts a Keras model by running it on PyTorch, as a PyTorch model."""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from distillfarm.compression import keras_models
from distillfarm.compression.analysis.layers import Facts
from distillfarm.compression.analysis.torch import listen
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take a .keras or .h5 file apart."""
    keras_models.choose_backend("torch")
    with TemporaryDirectory() as folder:
        loaded = keras_models.load(model.path, Path(folder))
    named = [(each.path.replace("/", "."), each.value) for each in loaded.variables]
    weights = [(name, each) for name, each in named if isinstance(each, Tensor)]

    def call(*inputs: Tensor) -> object:
        return loaded(list(inputs) if len(inputs) > 1 else inputs[0], training=False)

    return listen(call, signature, weights, int(loaded.count_params()))
