"""The FP32 teachers of the workloads in plain PyTorch: the file that a user brings as factory.

Every function builds one of them; ``width`` and ``depth`` are what a student's factory is asked
for. It imports nothing of distillfarm.
"""

import torch
from torch import Tensor, nn

VOCABULARY, WORDS = 6000, 40
FRAMES, CEPSTRA = 29, 12


def vision(width: float = 1.0, depth: int = 1) -> nn.Module:
    """A residual network of three stages with ``depth`` blocks each: 308,074 parameters."""
    return _ResNet([_whole(base, width) for base in (32, 64, 128)], depth)


def text(width: float = 1.0, depth: int = 2) -> nn.Module:
    """A transformer encoder of ``depth`` layers: 453,762 parameters, 384,000 of them words."""
    return _Encoder(_whole(64, width), depth)


def sequence(width: float = 1.0, depth: int = 2) -> nn.Module:
    """A recurrent network of ``depth`` layers: 40,521 parameters."""
    return _Recurrent(_whole(64, width), depth)


class _ResNet(nn.Module):
    """Takes ``image``: float32 [batch, 1, 28, 28] in 0..1; gives logits: float32 [batch, 10]."""

    def __init__(self, channels: list[int], depth: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        inputs = channels[0]
        for stage, outputs in enumerate(channels):
            for number in range(depth):
                blocks.append(_Block(inputs, outputs, 2 if stage and not number else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Linear(inputs, 10)

    def forward(self, image: Tensor) -> Tensor:
        features = self.pool(self.blocks(self.stem(image)))
        logits: Tensor = self.classes(torch.flatten(features, 1))
        return logits


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


class _Encoder(nn.Module):
    """Takes ``tokens``: int64 [batch, 40], 0 for none; gives logits: float32 [batch, 2]."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(0.02 * torch.randn(WORDS, width))
        self.dropout = nn.Dropout(0.4)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, width // 16, 2 * width, 0.4, batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.norm(self.layers(self.dropout(self.words(tokens) + self.positions)))
        there = (tokens > 0).unsqueeze(2).to(features.dtype)
        mean = (features * there).sum(1) / there.sum(1).clamp_min(1.0)
        logits: Tensor = self.classes(mean)
        return logits


class _Recurrent(nn.Module):
    """Takes ``frames``: float32 [batch, 29, 12]; gives logits: float32 [batch, 9]."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.GRU(CEPSTRA, width, depth, batch_first=True)
        self.classes = nn.Linear(width, 9)

    def forward(self, frames: Tensor) -> Tensor:
        states, _ = self.layers(frames)
        logits: Tensor = self.classes(states[:, -1])
        return logits


def _whole(base: int, width: float) -> int:
    """``base`` scaled, a multiple of 16 and at least that."""
    return max(16, int(base * width / 16 + 0.5) * 16)
