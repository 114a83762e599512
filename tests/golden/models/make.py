"""Makes the recorded models: one small CNN in the formats whose tools are slow to start.

Run it in this folder with the extras ``compression`` and ``tensorflow`` and litert-torch.
"""

import os
import tarfile
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import litert_torch
import torch
from torch import nn


class Cnn(nn.Module):
    """3x32x32 -> 4: a convolution of 8 channels, a mean, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.dense = nn.Linear(8, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores [n, 4]."""
        scores: torch.Tensor = self.dense(self.conv(image).relu().mean((2, 3)))
        return scores


def main() -> None:
    """Write tiny.tflite, tiny.keras, tiny.h5 and tiny_saved_model.tar."""
    torch.manual_seed(0)
    litert_torch.convert(Cnn().eval(), (torch.zeros(1, 3, 32, 32),)).export("tiny.tflite")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((32, 32, 3), name="image"),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )
    model.save("tiny.keras")
    model.save("tiny.h5")
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        with tarfile.open("tiny_saved_model.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            for each in sorted(Path(folder).rglob("*")):
                if each.is_file():
                    archive.addfile(_entry(each, folder), each.open("rb"))


def _entry(path: Path, folder: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(str(path.relative_to(folder)))
    entry.size = path.stat().st_size
    return entry


if __name__ == "__main__":
    main()
