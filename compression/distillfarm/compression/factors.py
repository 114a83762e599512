"""Layers as products of two smaller ones: what each rank costs, and the best one of each rank.

A layer's weight becomes a matrix [out, in] and that its singular value decomposition. Where inputs
are known it is taken under their second moments, so that a rank loses least of the layer's
outputs, not of its weights (Wang et al., SVD-LLM, arXiv:2403.07378).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distillfarm.compression.torch_layers import Factorisable, factorised

_KINDS = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d)
# Keeps the root of the moments invertible; far below what inputs vary by.
_DAMPING = 1e-6


@dataclass(frozen=True)
class Factors:
    """The decomposition of the layer ``name``, largest part first.

    ``left`` [out, n] and ``right`` [n, in] multiply to its weight; ``energy`` float64 [n] is the
    share of the squared singular values that the first ranks keep.
    """

    name: str
    layer: Factorisable
    left: Tensor
    right: Tensor
    energy: Tensor

    @property
    def parameters(self) -> int:
        """The weight's size as it is."""
        return self.layer.weight.numel()

    def parameters_of(self, rank: int) -> int:
        """The size of both weights at this rank."""
        return rank * (self.left.shape[0] + self.right.shape[1])

    def ranks(self, multiple_of: int) -> list[int]:
        """The ranks that make the layer smaller, multiples of ``multiple_of``."""
        inner = self.left.shape[1]
        ranks = range(multiple_of, inner + 1, multiple_of)
        return [rank for rank in ranks if self.parameters_of(rank) < self.parameters]

    def kept(self, rank: int) -> float:
        """The share of the energy that ``rank`` keeps."""
        return float(self.energy[rank - 1])

    def product(self, rank: int) -> Tensor:
        """The weight at this rank, in the layer's own shape."""
        product = self.left[:, :rank] @ self.right[:rank]
        if isinstance(self.layer, nn.Embedding):
            product = product.T
        return product.reshape(self.layer.weight.shape).to(self.layer.weight.dtype)

    def layers(self, rank: int) -> nn.Sequential:
        """Two layers with these weights in the place of the one."""
        pair = factorised(self.layer, rank)
        first, last = pair.get_parameter("0.weight"), pair.get_parameter("1.weight")
        right, left = self.right[:rank], self.left[:, :rank]
        with torch.no_grad():
            # A table's rows are its inputs.
            given = right.T if isinstance(self.layer, nn.Embedding) else right
            first.copy_(given.reshape(first.shape))
            last.copy_(left.reshape(last.shape))
            if getattr(self.layer, "bias", None) is not None:
                pair.get_parameter("1.bias").copy_(self.layer.get_parameter("bias"))
        return pair.train(self.layer.training)


def candidates(module: nn.Module) -> tuple[dict[str, Factorisable], list[str]]:
    """The layers that could be factorised, by name, and the names of those with shared weights."""
    layers = {name: each for name, each in module.named_modules() if _suits(each)}
    owned = sorted(
        id(each) for layer in module.modules() for each in layer.parameters(recurse=False)
    )
    shared = {each for each, turns in itertools.groupby(owned) if len(list(turns)) > 1}
    tied = [name for name, each in layers.items() if id(each.weight) in shared]
    return {name: each for name, each in layers.items() if name not in tied}, tied


def recurrent(module: nn.Module) -> list[str]:
    """The names of recurrent layers, which hold their weights in a form of their own."""
    kinds = (nn.RNNBase, nn.RNNCellBase)
    return [name for name, each in module.named_modules() if isinstance(each, kinds)]


def moments(module: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The second moments float64 [in, in] of what dense layers are given when ``module`` runs."""
    found: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        def add(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            rows = given[0].reshape(-1, layer.in_features).double()
            total = rows.T @ rows
            found[name] = found[name] + total if name in found else total

        return layer.register_forward_pre_hook(add)

    layers = [(name, module.get_submodule(name)) for name in names]
    handles = [watch(name, each) for name, each in layers if isinstance(each, nn.Linear)]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def factors(name: str, layer: Factorisable, moment: Tensor | None) -> Factors:
    """Decompose a layer, under the ``moment`` of its inputs if there is one."""
    weight = layer.weight.detach().double()
    matrix = weight.T if isinstance(layer, nn.Embedding) else weight.flatten(1)
    root = _root(moment) if moment is not None else None
    left, values, right = torch.linalg.svd(
        matrix @ root if root is not None else matrix, full_matrices=False
    )
    if root is not None:
        right = torch.linalg.solve_triangular(root, right, upper=False, left=False)
    # Equally large halves train best.
    scale = values.sqrt()
    squares = values.square()
    energy = squares.cumsum(0) / squares.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return Factors(name, layer, left * scale, scale[:, None] * right, energy)


def _root(moment: Tensor) -> Tensor:
    """The lower triangular root of ``moment``, made invertible."""
    size = len(moment)
    level = moment.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    damped = moment + _DAMPING * level * torch.eye(size, dtype=moment.dtype)
    root: Tensor = torch.linalg.cholesky(damped)
    return root


def _suits(layer: nn.Module) -> bool:
    # Subclasses may use their weight in their own way.
    if type(layer) not in _KINDS:
        return False
    if isinstance(layer, nn.Embedding):
        return layer.max_norm is None
    return not isinstance(layer, nn.Conv1d | nn.Conv2d) or layer.groups == 1
