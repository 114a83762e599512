"""Around which values launches gather: one peak, or several whose mean nobody ever sees.

Core ML's load times on a phone lie around 31 or around 50 ms (launches that ExecuTorch published,
June 2025): neither a mean nor a median of them is any launch's.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from distillfarm.domain.measurement import Peak
from distillfarm.statistics.dip import dip, has_two_peaks

# Peaks that are closer are one: no class of device has a smaller minimum effect.
_APART = 1.03
_FINEST = 7
_SETTLED = 1e-12


def peaks(values: Sequence[float]) -> tuple[Peak, ...]:
    """The peaks of ``values``, the lowest first; () without values.

    Values have two peaks where the dip test says so at 1 % (see ``dip``), are then divided in the
    dip, and each part is asked again (Maurus and Plant, "Skinny-dip", KDD 2016). So one peak of
    whatever shape, skewed or heavy-tailed, is taken for two in less than 1 of 100 cases. Two tight
    peaks are found among 10 launches when they are divided 6 to 4, among 15 when 2 to 1, among 20
    when 7 to 3; works for hundreds of samples of one launch as well, if they are independent.

    Args:
        values: positive, in milliseconds, in any order.
    """
    if not len(values):
        return ()
    ordered = np.sort(np.asarray(values, dtype=float))
    parts = _parted(_spread(ordered))
    bounds = np.cumsum([0, *(part.size for part in parts)])
    found = [ordered[begin:end] for begin, end in pairwise(bounds.tolist())]
    return tuple(Peak(float(np.median(each)), each.size / ordered.size) for each in found)


def _parted(ordered: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Parts with one peak each, in order."""
    found = dip(ordered)
    left, right = ordered[: found.second], ordered[found.second :]
    if not has_two_peaks(found.distance, ordered.size) or not left.size or not right.size:
        return [ordered]
    if np.median(right) < _APART * np.median(left):
        return [ordered]
    return [*_parted(left), *_parted(right)]


def _spread(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal values, evenly over the rounding that made them equal: whole numbers by a half.

    Else each value that a coarse clock can show would be a peak.
    """
    step = next(
        (
            10.0**-digits
            for digits in range(_FINEST)
            if np.allclose(ordered, np.round(ordered, digits), rtol=0, atol=_SETTLED)
        ),
        10.0**-_FINEST,
    )
    _, first, counts = np.unique(ordered, return_index=True, return_counts=True)
    within = np.arange(ordered.size) - np.repeat(first, counts)
    return ordered + step * ((within + 0.5) / np.repeat(counts, counts) - 0.5)
