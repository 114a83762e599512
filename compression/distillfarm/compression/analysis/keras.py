"""Counts and times a Keras model by running it on PyTorch, as a PyTorch model."""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from distillfarm.compression import keras_models
from distillfarm.compression.analysis.layers import Facts
from distillfarm.compression.analysis.profile import Runs, Timed
from distillfarm.compression.analysis.torch import listen
from distillfarm.compression.analysis.torch_profile import clock
from distillfarm.compression.analysis.torch_subject import Subject
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take a .keras or .h5 file apart."""
    return listen(subject(model), signature)


def times(model: WorkingModel, signature: Signature, runs: Runs) -> Timed:
    """Microseconds by layer for one batch, with PyTorch under Keras."""
    return clock(subject(model), signature, runs)


def subject(model: WorkingModel) -> Subject:
    """A .keras or .h5 file, opened."""
    keras_models.choose_backend("torch")
    with TemporaryDirectory() as folder:
        loaded = keras_models.load(model.path, Path(folder))
    named = [(each.path.replace("/", "."), each.value) for each in loaded.variables]
    weights = [(name, each) for name, each in named if isinstance(each, Tensor)]

    def call(*inputs: Tensor) -> object:
        return loaded(list(inputs) if len(inputs) > 1 else inputs[0], training=False)

    return Subject(call, weights, (), int(loaded.count_params()), {}, {})
