"""The demonstration's teacher: a small convolutional network in plain PyTorch.

This is all that a user brings beside weights and data: a file with a function that builds the
network. It imports nothing of distillfarm.
"""

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """Three convolutions and two dense layers, 136,122 parameters.

    Takes ``image``: float32 [batch, 1, 28, 28] in 0..1; gives logits: float32 [batch, 10].
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_block(1, 16), _block(16, 32), _block(32, 64))
        self.hidden = nn.Linear(64 * 3 * 3, 192)
        self.classes = nn.Linear(192, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Logits for a batch of images."""
        features = torch.flatten(self.features(image), 1)
        logits: Tensor = self.classes(torch.relu(self.hidden(features)))
        return logits


def build() -> nn.Module:
    """The factory that ``--factory teacher.py:build`` names."""
    return Teacher()


def example_inputs() -> dict[str, Tensor]:
    """What ``distillfarm inspect`` feeds, since a state dict does not tell the input's shape."""
    return {"image": torch.zeros(1, 1, 28, 28)}


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
