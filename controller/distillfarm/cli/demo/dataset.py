"""Unpacks the vendored images into the ``.npz`` that a user would bring."""

from importlib import resources
from pathlib import Path

import numpy as np

PACKED = resources.files(__package__) / "fashion_mnist.npz"
_BRIGHTEST = 255.0


def write_dataset(destination: Path) -> None:
    """Write ``image``: float32 [22000, 1, 28, 28] in 0..1 and ``label``: int64 [22000]."""
    with resources.as_file(PACKED) as path, np.load(path) as packed:
        images = np.concatenate([packed["train_image"], packed["test_image"]])
        labels = np.concatenate([packed["train_label"], packed["test_label"]])
    scaled = images[:, np.newaxis].astype(np.float32) / np.float32(_BRIGHTEST)
    np.savez(destination, image=scaled, label=labels.astype(np.int64))
