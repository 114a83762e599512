"""What a linear model on weighted word counts reaches: a yardstick for networks on few texts."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from distillfarm.compression.datasets import Samples

_DECAY = 1e-4
_STEPS = 100


def accuracy(train: Samples, test: Samples, name: str, vocabulary: int) -> float:
    """Logistic regression on TF-IDF of the token ids ``name`` (0 none, 1 unknown); 0..1."""
    counts = _counts(train.inputs[name], vocabulary)
    rarity = torch.log((1 + len(counts)) / (1 + (counts > 0).sum(0))) + 1
    given, labels = _weighted(counts, rarity), torch.from_numpy(train.labels)
    weights = torch.zeros(vocabulary, int(labels.max()) + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(given @ weights, labels)
        value = value + _DECAY * weights.square().sum()
        torch.autograd.backward(value)
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    answers = (_weighted(_counts(test.inputs[name], vocabulary), rarity) @ weights).argmax(1)
    return float((answers.numpy() == test.labels).mean())


def _counts(tokens: NDArray[np.generic], vocabulary: int) -> Tensor:
    ids = torch.from_numpy(tokens)
    counts = torch.zeros(len(ids), vocabulary).scatter_add_(1, ids, torch.ones(ids.shape))
    counts[:, :2] = 0
    return counts


def _weighted(counts: Tensor, rarity: Tensor) -> Tensor:
    return functional.normalize(torch.log1p(counts) * rarity, dim=1)
