"""Which points nothing beats in every objective at once."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def pareto_front(points: Mapping[Key, Sequence[float]]) -> frozenset[Key]:
    """The keys of the points that no other point dominates; every objective is minimised.

    A point dominates another when it is no worse in every objective and better in one, so equal
    points stay together.
    """
    return frozenset(
        key
        for key, point in points.items()
        if not any(_dominates(other, point) for other in points.values())
    )


def _dominates(left: Sequence[float], right: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(left, right, strict=True)) and any(
        a < b for a, b in zip(left, right, strict=True)
    )
