"""What one operator of a model costs, in the same words for every format."""

from collections.abc import Sequence
from dataclasses import dataclass

FREE_SIZE = 64
"""What a free dimension other than the batch counts as."""


@dataclass(frozen=True)
class Layer:
    """One operator, for one sample.

    ``weight_bytes`` are those that it reads, ``activation_bytes`` its other inputs and outputs.
    """

    name: str
    operator: str
    macs: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0


@dataclass(frozen=True)
class Facts:
    """A model taken apart; ``dtypes`` are those of its weights, the most bytes first."""

    parameters: int
    layers: tuple[Layer, ...]
    dtypes: tuple[str, ...]


def sample_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape`` with one sample, and every other free dimension as ``FREE_SIZE``."""
    return tuple(
        1 if size < 0 and index == 0 else FREE_SIZE if size < 0 else size
        for index, size in enumerate(shape)
    )


def by_bytes(sizes: dict[str, int]) -> tuple[str, ...]:
    """The keys, the most bytes first."""
    return tuple(sorted(sizes, key=lambda name: (-sizes[name], name)))
