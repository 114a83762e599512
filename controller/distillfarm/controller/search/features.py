"""What a surrogate may know of a candidate before it is measured, as text and numbers by name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """``choices`` differ or do not (a runtime, a quantiser); ``numbers`` are nearer or farther.

    Both are (name, value) and may be missing: a choice that is missing is a value of its own, a
    number that is missing tells nothing. Numbers whose ratio counts are given as logarithms.
    """

    choices: tuple[tuple[str, str], ...] = ()
    numbers: tuple[tuple[str, float], ...] = ()


class Encoding:
    """Features as points in a space in which near means alike, learnt from all that are known.

    Each choice adds 1 to the squared distance of two points where they differ in it; numbers are
    scaled to a standard deviation of 1. What all have in common takes no dimension.
    """

    def __init__(self, known: Sequence[Features]) -> None:
        choices = {pair: None for each in known for pair in each.choices}
        self._choices = {pair: column for column, pair in enumerate(sorted(choices))}
        self._names = sorted({name for each in known for name, _ in each.numbers})
        given = self._numbers(known)
        seen = ~np.isnan(given)
        counts = np.maximum(seen.sum(axis=0), 1)
        self._centre = np.where(seen, given, 0.0).sum(axis=0) / counts
        squares = np.where(seen, (given - self._centre) ** 2, 0.0).sum(axis=0) / counts
        self._scale = np.where(squares > 0, np.sqrt(squares), 1.0)

    def points(self, features: Sequence[Features]) -> Matrix:
        """float64 [features, dimensions]."""
        chosen = np.zeros((len(features), len(self._choices)))
        for row, each in enumerate(features):
            for pair in each.choices:
                if (column := self._choices.get(pair)) is not None:
                    chosen[row, column] = np.sqrt(0.5)
        numbers = (self._numbers(features) - self._centre) / self._scale
        return np.hstack([chosen, np.nan_to_num(numbers, nan=0.0)])

    def _numbers(self, features: Sequence[Features]) -> Matrix:
        rows = [dict(each.numbers) for each in features]
        return np.array(
            [[row.get(name, np.nan) for name in self._names] for row in rows], dtype=np.float64
        ).reshape(len(rows), len(self._names))
