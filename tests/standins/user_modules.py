"""Modules as users write them, whose own source is the factory of a TORCH_MODULE."""

import torch
from torch import Tensor, nn

CLASSES = 3


class Residual(nn.Module):
    """Inverted residuals with depthwise convolutions, squeeze and excitation, a flattened head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        self.expand = nn.Sequential(nn.Conv2d(16, 48, 1, bias=False), nn.BatchNorm2d(48))
        self.depthwise = nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(48)
        self.squeeze = nn.Linear(48, 16)
        self.excite = nn.Linear(16, 48)
        self.project = nn.Sequential(nn.Conv2d(48, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.last = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.head = nn.Linear(32 * 9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        stem = torch.relu(self.stem_norm(self.stem(x)))
        wide = torch.relu(self.expand(stem))
        wide = torch.relu(self.depthwise_norm(self.depthwise(wide)))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(wide.mean(dim=(2, 3))))))
        stem = stem + self.project(wide * gate[:, :, None, None])
        last = torch.relu(self.last(stem))
        answer: Tensor = self.head(last.view(last.shape[0], -1))
        return answer


class Concatenating(nn.Module):
    """Two branches side by side, as in Inception, then normalised over all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(1, 16, 1)
        self.wide = nn.Conv2d(1, 24, 3, padding=1)
        self.merge = nn.Conv2d(40, 32, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, 32)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.narrow(x), self.wide(x)], dim=1).relu()
        merged = torch.relu(self.norm(self.merge(both)))
        answer: Tensor = self.head(merged.mean(dim=(2, 3)))
        return answer


class Encoder(nn.Module):
    """PyTorch's own encoder layers over tokens, with a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(400, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        features = self.layers(self.tokens(x), src_key_padding_mask=x == 399)
        answer: Tensor = self.head(features.mean(dim=1))
        return answer


class BertAttention(nn.Module):
    """Attention that keeps the width of all heads beside their number, as BERT's does."""

    def __init__(self) -> None:
        super().__init__()
        self.num_attention_heads = 4
        self.attention_head_size = 8
        self.all_head_size = 32
        self.query, self.key, self.value = (nn.Linear(24, 32) for _ in range(3))
        self.output = nn.Linear(32, 24)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            each(x)
            .view(*x.shape[:2], self.num_attention_heads, self.attention_head_size)
            .permute(0, 2, 1, 3)
            for each in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(-1, -2) / self.attention_head_size**0.5).softmax(-1)
        heard = (weights @ value).permute(0, 2, 1, 3).contiguous()
        answer: Tensor = self.output(heard.view(*x.shape[:2], self.all_head_size))
        return answer


class TiedBert(nn.Module):
    """One attention layer used twice, two dense layers with one weight, one that writes 24."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(400, 24)
        self.attention = BertAttention()
        self.norm = nn.LayerNorm(24)
        self.up, self.across = nn.Linear(24, 24), nn.Linear(24, 24)
        self.across.weight = self.up.weight
        self.fused = nn.Linear(24, 72)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        features = self.tokens(x)
        for _ in range(2):
            features = self.norm(features + self.attention(features))
        features = features + self.across(torch.relu(self.up(features)))
        query, key, value = self.fused(features).reshape(-1, 10, 3, 3, 8).permute(2, 0, 3, 1, 4)
        heard = (query @ key.transpose(-1, -2)).softmax(-1) @ value
        features = features + heard.transpose(1, 2).reshape(-1, 10, 24)
        answer: Tensor = self.head(features.mean(dim=1))
        return answer


class Recurrent(nn.Module):
    """An LSTM between dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16))
        self.cell = nn.LSTM(16, 16, batch_first=True)
        self.middle = nn.Linear(16, 32)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(self.widen(x))
        answer: Tensor = self.head(torch.relu(self.middle(states[:, -1])))
        return answer


class Peeking(nn.Module):
    """Uses a layer's weight beside its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(20, 64)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(torch.relu(self.body(x)) / self.body.weight.norm())
        return answer
