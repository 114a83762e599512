"""Treats one layer of a Keras model, which runs on PyTorch."""

from collections.abc import Sequence

from distillfarm.compression.analysis.keras import subject
from distillfarm.compression.analysis.layers import Layer
from distillfarm.compression.analysis.torch_edits import TorchEditor
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature


def editor(model: WorkingModel, signature: Signature, layers: Sequence[Layer]) -> TorchEditor:
    """The editor of a .keras or .h5 file."""
    return TorchEditor(subject(model), signature, layers, outputs_last=True)
