"""Trains a small Keras model and saves it in every form; a task for the sandbox."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def make(folder: str, report: Callable[[float, str], None]) -> bool:
    """Write ``model.keras``, ``model.h5``, the folder ``saved_model`` and ``data.npz``."""
    import keras  # noqa: PLC0415  loads TensorFlow

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 400)
    centres = generator.normal(size=(3, 12, 12, 1))
    images = 1.5 * centres[labels] + generator.normal(size=(400, 12, 12, 1))
    images = images.astype(np.float32)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1), name="image"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    report(0.2, "training")
    model.fit(images, labels, epochs=20, verbose=0)
    target = Path(folder)
    model.save(target / "model.keras")
    model.save(target / "model.h5")
    model.export(target / "saved_model", verbose=False)
    np.savez(target / "data.npz", image=images, label=labels)
    return True
