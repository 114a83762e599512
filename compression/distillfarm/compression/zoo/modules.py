"""The zoo's architectures as PyTorch modules."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillfarm.compression.zoo.config import Family, ZooConfig

_SMALLEST_MAP = 4
_HEAD_WIDTH = 8


class Student(nn.Module):
    """A member of the zoo: ``logits`` for training, ``forward`` as the signature promises."""

    def __init__(self, config: ZooConfig, body: nn.Module, features: int) -> None:
        super().__init__()
        self.config = config
        self.body = body
        self.head = nn.Linear(features, config.outputs)

    def logits(self, batch: Tensor) -> Tensor:
        """Raw answers: float32 [batch, outputs]."""
        given = batch
        if self.config.shift != 0.0 or self.config.scale != 1.0:
            given = (given - self.config.shift) * self.config.scale
        answer: Tensor = self.head(self.body(given))
        return answer

    def forward(self, batch: Tensor) -> Tensor:
        """Logits or probabilities, whichever the teacher gave: float32 [batch, outputs]."""
        logits = self.logits(batch)
        return torch.softmax(logits, dim=1) if self.config.probabilities else logits


def build(config: ZooConfig) -> Student:
    """The student that ``config`` describes, with fresh weights from torch's global generator."""
    match config.family:
        case Family.CNN:
            body, features = _cnn(config)
        case Family.ENCODER:
            width = config.channels(64)
            body, features = _Encoder(config, width), width
        case Family.GRU:
            width = config.channels(64)
            body, features = _Recurrent(config, width), width
        case Family.MLP:
            body, features = _mlp(config)
    return Student(config, body, features)


def _cnn(config: ZooConfig) -> tuple[nn.Module, int]:
    """Images float32 [batch, c, h, w] (or [batch, h, w, c]) to features [batch, 128 * width].

    Every convolution halves the map: on Fashion-MNIST that was more accurate for its size than
    fewer strides, and several times quicker.
    """
    height, width, channels = config.input_shape
    if not config.channels_last:
        channels, height, width = config.input_shape
    layers: list[nn.Module] = [_ChannelsFirst()] if config.channels_last else []
    smallest = min(height, width)
    base, inputs = 32, channels
    # Larger images get more stages, so that the last map is about as coarse for all.
    while True:
        outputs = config.channels(min(base, 128))
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
        for _ in range(config.depth - 1):
            layers += [
                nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        inputs, base, smallest = outputs, base * 2, (smallest + 1) // 2
        if smallest <= _SMALLEST_MAP:
            break
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs


def _mlp(config: ZooConfig) -> tuple[nn.Module, int]:
    """Vectors float32 [batch, n] to features; the last hidden layer is half as wide."""
    layers: list[nn.Module] = []
    inputs = config.input_shape[0]
    for number in range(config.depth):
        outputs = config.channels(64 if number and number == config.depth - 1 else 128)
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers), inputs


class _ChannelsFirst(nn.Module):
    """Images [batch, h, w, c] to [batch, c, h, w]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2)


class _Recurrent(nn.Module):
    """Sequences float32 [batch, time, features] to the last state [batch, width]."""

    def __init__(self, config: ZooConfig, width: int) -> None:
        super().__init__()
        self.layers = nn.GRU(config.input_shape[1], width, config.depth, batch_first=True)

    def forward(self, sequences: Tensor) -> Tensor:
        states, _ = self.layers(sequences)
        last: Tensor = states[:, -1]
        return last


class _Encoder(nn.Module):
    """Token ids [batch, length] to the mean feature over the length [batch, width]."""

    def __init__(self, config: ZooConfig, width: int) -> None:
        super().__init__()
        self.vocabulary = config.vocabulary
        self.tokens = nn.Embedding(config.vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(config.input_shape[0], width))
        self.layers = nn.Sequential(*(_EncoderLayer(width) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        # An id that was never seen must not read past the table.
        known = tokens.clamp(0, self.vocabulary - 1)
        features: Tensor = self.norm(self.layers(self.tokens(known) + self.positions))
        return features.mean(dim=1)


class _EncoderLayer(nn.Module):
    """Pre-norm self-attention and a feed-forward block, both residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // _HEAD_WIDTH
        self.attention_norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        normed = self.attention_norm(features)
        query, key, value = (
            self._split(each(normed)) for each in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        attended = features + self.mix(mixed.transpose(1, 2).flatten(2))
        answer: Tensor = attended + self.feed(self.feed_norm(attended))
        return answer

    def _split(self, features: Tensor) -> Tensor:
        batch, length, _ = features.shape
        return features.reshape(batch, length, self.heads, -1).transpose(1, 2)
