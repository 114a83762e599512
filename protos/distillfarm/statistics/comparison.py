"""Whether the second of two artifacts is faster or slower on a device, and by how much.

Both ways assume no distribution of launches; where nothing differs at most 1 of 100 comparisons
says that something does, a slow drift in the session included.
Ratios are taken, so everything happens on logarithms.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.domain.measurement import Comparison, Finding

CONFIDENCE = 0.99

_MOST_MORE = 1000
# Exact for independent launches; half of the errors are kept back for what drifts in a session.
_TAIL = (1 - CONFIDENCE) / 4
# 2 / 2^9 and 2 / C(12, 6) are the first at most 2 * _TAIL.
_FEWEST_PAIRS = 9
_FEWEST_SEPARATE = 6


def compare_pairs(metric: str, first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two sides that were launched in turn, A B B A.

    The median of all pairwise means of the pairs' log ratios, with the interval that Wilcoxon's
    signed-rank test does not reject (Hodges and Lehmann 1963; Hollander, Wolfe and Chicken,
    "Nonparametric Statistical Methods", 3.2-3.4), exact: a pair shares the state of the device, so
    what both suffer cancels. Fewer than 9 pairs cannot show anything.

    Args:
        metric: the ``Metric``'s value.
        first: one positive number a launch, in any unit.
        second: the other side; number i was launched beside the first's number i.

    Raises:
        InvalidRequest: no pairs, a side that has more, or a number that is not positive.
    """
    left, right = _logs(first), _logs(second)
    if left.size != right.size:
        raise InvalidRequest(
            f"{metric}: {left.size} launches cannot be paired with {right.size}; compare pairs"
        )
    differences = right - left
    rows, columns = np.triu_indices(differences.size)
    means = np.sort((differences[rows] + differences[columns]) / 2)
    cut = _cut(signed_rank(differences.size))
    return _compared(metric, means, cut, left.size, 0.0, interleaved=True)


def compare_separate(
    metric: str, first: Sequence[float], second: Sequence[float], minimum_effect: float
) -> Comparison:
    """Compare two sides that were measured at different times, or on devices of one kind.

    The median of all log ratios between a launch of one and a launch of the other, with the
    interval that the Mann-Whitney test does not reject (Hodges and Lehmann 1963; Hollander, Wolfe
    and Chicken, 4.2-4.3). As the device may have changed between the two, the estimate must also
    exceed ``minimum_effect`` (0.05: 5 %), which is that of the device's class. Fewer than 6
    launches a side cannot show anything.

    Raises:
        InvalidRequest: a side without numbers, or a number that is not positive.
    """
    left, right = _logs(first), _logs(second)
    differences = np.sort(np.subtract.outer(right, left), axis=None)
    cut = _cut(rank_sum(left.size, right.size))
    launches = min(left.size, right.size)
    return _compared(metric, differences, cut, launches, minimum_effect, interleaved=False)


@lru_cache(maxsize=256)
def signed_rank(pairs: int) -> NDArray[np.float64]:
    """P(W = w) for w = 0, 1, ... of Wilcoxon's signed-rank statistic without a difference."""
    chances = np.ones(1)
    for rank in range(1, pairs + 1):
        longer = np.zeros(chances.size + rank)
        longer[: chances.size] += chances / 2
        longer[rank:] += chances / 2
        chances = longer
    return chances


@lru_cache(maxsize=256)
def rank_sum(first: int, second: int) -> NDArray[np.float64]:
    """P(U = u) for u = 0, 1, ... of the Mann-Whitney statistic without a difference.

    Mann and Whitney's recursion (1947): the largest of all values belongs to one side or the other.
    """
    row = [np.ones(1) for _ in range(second + 1)]
    for lefts in range(1, first + 1):
        grown = [np.ones(1)]
        for rights in range(1, second + 1):
            chances = np.zeros(lefts * rights + 1)
            chances[rights:] += row[rights] * lefts / (lefts + rights)
            chances[: grown[-1].size] += grown[-1] * rights / (lefts + rights)
            grown.append(chances)
        row = grown
    return row[second]


def _logs(values: Sequence[float]) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not np.all(sample > 0):
        raise InvalidRequest("a comparison needs at least one positive value on each side")
    logs: NDArray[np.float64] = np.log(sample)
    return logs


def _cut(chances: NDArray[np.float64]) -> int:
    """So many of the ordered differences lie outside the interval at each end; 0: too few."""
    return int(np.searchsorted(np.cumsum(chances), _TAIL, side="right"))


def _compared(
    metric: str,
    differences: NDArray[np.float64],
    cut: int,
    launches: int,
    minimum_effect: float,
    *,
    interleaved: bool,
) -> Comparison:
    """The finding from ordered differences of which ``cut`` at each end lie outside."""
    middle = float(np.median(differences))
    if not cut:
        fewest = _FEWEST_PAIRS if interleaved else _FEWEST_SEPARATE
        return Comparison(
            metric=metric,
            finding=Finding.NO_DIFFERENCE,
            ratio=Interval(math.exp(middle), 0.0, UNBOUNDED),
            launches=launches,
            interleaved=interleaved,
            minimum_effect=minimum_effect,
            more_launches=max(fewest - launches, 1),
            reason=f"{launches} launches a side are too few for a 99 % interval",
        )
    low, high = float(differences[cut - 1]), float(differences[-cut])
    large = abs(middle) > math.log1p(minimum_effect)
    finding, more, reason = Finding.NO_DIFFERENCE, 0, ""
    if low <= 0 <= high:
        reason = "the 99 % interval holds equality"
        more = _more_launches(middle, low, high, launches) if large else 0
    elif large:
        finding = Finding.FASTER if high < 0 else Finding.SLOWER
    else:
        reason = (
            f"less than the {minimum_effect:.0%} that measuring at another time may change; "
            "launches in turn would tell"
        )
    return Comparison(
        metric=metric,
        finding=finding,
        ratio=Interval(math.exp(middle), math.exp(low), math.exp(high)),
        launches=launches,
        interleaved=interleaved,
        minimum_effect=minimum_effect,
        more_launches=more,
        reason=reason,
    )


def _more_launches(middle: float, low: float, high: float, launches: int) -> int:
    """So many more would clear the interval of equality if the estimate stayed where it is.

    Intervals narrow with the root of the launches. 0 where it takes more than anybody would make.
    """
    towards = high - middle if middle < 0 else middle - low
    if middle == 0:
        return 0
    more = math.floor(launches * (towards / middle) ** 2) + 1 - launches
    return more if more <= _MOST_MORE else 0
