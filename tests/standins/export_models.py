"""Modules that some converter cannot follow, as a user's factory would build them."""

from pathlib import Path

import numpy as np
import tiny_models

from distillfarm.compression import torch_models
from distillfarm.domain.model import Signature, TensorSpec

WIDTH = 20
SOURCE = b"""
import torch
from torch import nn


class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2
        return x - 1


class Kth(nn.Module):
    def forward(self, x):
        return x.kthvalue(3, dim=1, keepdim=True).values


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs()


class Prototypes(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.points = nn.Parameter(torch.randn(5, 20))

    def forward(self, x):
        return torch.cdist(x, self.points)


class FakeQuantised(nn.Module):
    def forward(self, x):
        return torch.fake_quantize_per_tensor_affine(x, 0.05, 0, -128, 127)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.GRU(4, 6, batch_first=True)

    def forward(self, x):
        return self.layer(x.reshape(-1, 5, 4))[0][:, -1]


class Difference(nn.Module):
    def forward(self, left, right):
        return 2 * left - right


class Repetitive(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.sparse, self.clustered = nn.Linear(20, 64), nn.Linear(64, 64)
        with torch.no_grad():
            weight = self.sparse.weight
            weight[weight.abs() < 0.15] = 0.0
            self.clustered.weight.copy_((self.clustered.weight * 40).round() / 40)

    def forward(self, x):
        return self.clustered(torch.relu(self.sparse(x)))
"""


def made(name: str, folder: Path, inputs: tuple[str, ...] = ("x",)) -> tiny_models.Problem:
    """The class ``name`` of ``SOURCE`` with normally distributed inputs of ``WIDTH`` values."""
    generator = np.random.default_rng(0)
    shape = (tiny_models.SAMPLES, WIDTH)
    arrays = {each: generator.normal(size=shape).astype(np.float32) for each in inputs}
    signature = Signature(
        tuple(TensorSpec(each, "float32", (-1, WIDTH)) for each in inputs),
        (TensorSpec("y", "float32", (-1, -1)),),
    )
    module = torch_models.run_factory(SOURCE, name).eval()
    spec = torch_models.ModuleSpec(signature, factory_function=name)
    labels = generator.integers(0, 2, tiny_models.SAMPLES)
    model = torch_models.TorchModel(module, spec, SOURCE)
    return tiny_models.stored(folder, model, **arrays, label=labels)
