"""Reads TFLite: the file as it is; LiteRT itself verifies it when it is opened."""

from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers import Source
from distillfarm.domain.model import ModelFormat


def read(source: Source) -> WorkingModel:
    """The file itself: one flatbuffer, which names no other file and holds no code."""
    return WorkingModel(source.path, ModelFormat.TFLITE)
