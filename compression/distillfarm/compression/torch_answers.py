"""A module's answers before and after a change to its layers, compared."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distillfarm.compression.torch_models import named_outputs
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature

# Rounding alone moves answers by some 1e-5 of their range; a wrong change by far more.
_ROUNDING = 1e-3
_TINY = 1e-30

MISFITS = (
    RuntimeError,
    ValueError,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    AssertionError,
    ModelRejected,
)
"""What a module, or the library that changes it, raises when it does not take the change."""


def answers(
    module: nn.Module, signature: Signature, inputs: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The outputs in the signature's order.

    Raises:
        one of ``MISFITS``: the module does not run any more.
    """
    with torch.no_grad():
        return named_outputs(module(*inputs), signature)


def same(given: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether answers differ by rounding alone."""
    return distance(given, expected) <= _ROUNDING


def distance(given: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference, as a share of the largest answer expected.

    Infinite where shapes differ or an answer is not finite.
    """
    pairs = list(zip(given, expected, strict=True))
    if not all(one.shape == two.shape and bool(torch.isfinite(one).all()) for one, two in pairs):
        return math.inf
    return max(
        float((one - two).abs().max() / two.abs().max().clamp_min(_TINY)) for one, two in pairs
    )
