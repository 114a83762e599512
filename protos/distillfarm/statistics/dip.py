"""How far values are from having one peak, and between which two they fall apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-9
# The 99th percentile of sqrt(count) * dip of uniform values, from 20,000 to 100,000 draws each; it
# agrees with the table of Maechler's package ``diptest``. Uniform values are the hardest to tell
# from two peaks, so any other single peak is taken for two more rarely than in 1 of 100.
_COUNTS = (4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100, 200, 500, 1000, 5000)
_CRITICAL = (
    *(0.463, 0.440, 0.472, 0.488, 0.490, 0.493, 0.505, 0.513, 0.526),
    *(0.542, 0.554, 0.574, 0.587, 0.605, 0.617, 0.625, 0.628),
)
FEWEST = _COUNTS[0]
"""Of so many values two peaks can be told at all."""


@dataclass(frozen=True)
class Dip:
    """``distance`` (0..1/4) from one peak; the value number ``second`` begins the other one."""

    distance: float
    second: int


def dip(ordered: Sequence[float] | NDArray[np.float64]) -> Dip:
    """The dip statistic of Hartigan and Hartigan, "The Dip Test of Unimodality", Ann. Stat. 1985.

    The largest distance between the empirical distribution and the nearest one with a single peak,
    which is convex before its peak and concave behind it. The peak is narrowed down from the whole
    range, as in their section 3; minorants are isotonic regressions of slopes.

    Args:
        ordered: at least one value, rising strictly.
    """
    x = np.asarray(ordered, dtype=float)
    above = np.arange(1, x.size + 1) / x.size
    below = above - 1 / x.size
    first, last, found = 0, x.size - 1, Dip(0.0, 0)
    while True:
        peak = slice(first, last + 1)
        convex = _minorant(x[peak], below[peak])
        concave = 1 - _minorant(-x[peak][::-1], 1 - above[peak][::-1])[::-1]
        widest = int((concave - convex).argmax())
        if concave[widest] - convex[widest] <= 2 * found.distance + _TOLERANCE:
            return found
        touches = convex >= below[peak] - _TOLERANCE, concave <= above[peak] + _TOLERANCE
        begin = int(np.flatnonzero(touches[0][: widest + 1])[-1])
        end = widest + int(np.flatnonzero(touches[1][widest:])[0])
        before = (above[peak] - convex)[: begin + 1]
        behind = (concave - below[peak])[end:]
        candidates = (
            found,
            Dip(float(before.max()) / 2, first + int(before.argmax()) + 1),
            Dip(float(behind.max()) / 2, first + end + int(behind.argmax())),
        )
        found = max(candidates, key=lambda each: each.distance)
        if (begin, end) == (0, last - first):
            return found
        first, last = first + begin, first + end


def has_two_peaks(distance: float, count: int) -> bool:
    """Whether less than 1 of 100 samples of ``count`` values with one peak dip as far."""
    critical = np.interp(np.log(count), np.log(_COUNTS), _CRITICAL)
    return bool(count >= FEWEST and distance * np.sqrt(count) > critical)


def _minorant(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest convex function below the points, at the points."""
    if x.size == 1:
        return y
    # Half a second of every start, that of an agent which has measured nothing, too.
    from scipy.optimize import isotonic_regression  # noqa: PLC0415

    steps = np.diff(x)
    slopes = isotonic_regression(np.diff(y) / steps, weights=steps).x
    return np.concatenate(([y[0]], y[0] + np.cumsum(slopes * steps)))
