"""Reads our own form of a PyTorch module, when someone hands one in."""

from distillfarm.compression import torch_models
from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers import Source
from distillfarm.domain.model import ModelFormat


def read(source: Source) -> WorkingModel:
    """The file itself, once its module was built and its weights fit."""
    torch_models.read(source.path)
    return WorkingModel(source.path, ModelFormat.TORCH_MODULE)
