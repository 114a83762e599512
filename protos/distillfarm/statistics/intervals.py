"""The typical launch with its interval, whatever the distribution of launches.

Samples inside one launch share its memory layout, clock and thermal state, so an interval over
them says nothing about the next launch (Kalibera and Jones, "Rigorous Benchmarking in Reasonable
Time", ISMM 2013). Every interval here is over launches. About one launch in ten of a phone is 20 to
80 % slower than the rest; the median does not mind, a mean does.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.statistics.distributions import (
    NORMAL_MAD,
    fair_cdf,
    fair_quantile,
    median_absolute_deviation,
    normal_quantile,
    student_quantile,
)

CONFIDENCE = 0.95

# Five launches' range covers 93.75 %; that is taken for 95 %, and said.
_RANGE_SHORTFALL = 0.0125
_INDEPENDENT = normal_quantile(0.8)
_MOST_CORRELATED = 0.9
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
# Croux and Rousseeuw, "Time-efficient algorithms for two highly robust estimators of scale",
# COMPSTAT 1992: what makes the MAD of so few normal values unbiased; n / (n - 0.8) from 10 on.
_MAD_FACTORS = (1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107)


def over_launches(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median over launches with an interval that holds the population's median.

    From order statistics, interpolated between two neighbours (Hettmansperger and Sheather,
    "Confidence intervals based on interpolated order statistics", Statistics & Probability Letters
    1986; Nyblom, "Note on interpolated order statistics", ibid. 1992): it assumes no distribution.
    It is stretched where consecutive launches resemble one another more than chance explains.
    Where even the range of so few values covers less than ``confidence`` it is

    - the range, if that covers almost as much: five launches, 93.75 %;
    - else Student's t on the logarithms, which assumes that those are nearly normal (Olsson,
      "Confidence intervals for the mean of a log-normal distribution", J. Stat. Educ. 2005).

    One value has no spread to learn from: its interval is unbounded.

    Args:
        values: one positive number a launch, in any unit, in the order of launches.
        confidence: the share of such intervals that are to hold the median, 0..1.

    Raises:
        InvalidRequest: no values, or one that is not positive.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not np.all(sample > 0):
        raise InvalidRequest("an interval over launches needs at least one positive value")
    ordered = np.sort(sample)
    middle = float(np.median(ordered))
    if ordered.size == 1:
        return Interval(middle, 0.0, UNBOUNDED)
    range_covers = 1.0 - 0.5 ** (ordered.size - 1)
    if range_covers < confidence - _RANGE_SHORTFALL:
        return Interval(middle, *_lognormal(ordered, confidence))
    low, high = float(ordered[0]), float(ordered[-1])
    if range_covers >= confidence:
        low, high = _interpolated(ordered, confidence)
    stretch = _stretch(sample, ordered)
    return Interval(middle, middle * (low / middle) ** stretch, middle * (high / middle) ** stretch)


def robust_variation(values: Sequence[float]) -> float:
    """The median absolute deviation over the median, scaled to be a coefficient of variation.

    For normal values it is what the usual coefficient is; a few wild ones do not move it. 0 for
    one value.

    Raises:
        InvalidRequest: no values, or one that is not positive.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not np.all(sample > 0):
        raise InvalidRequest("a variation over launches needs at least one positive value")
    if sample.size == 1:
        return 0.0
    few = sample.size - 2 < len(_MAD_FACTORS)
    factor = _MAD_FACTORS[sample.size - 2] if few else sample.size / (sample.size - 0.8)
    deviation = median_absolute_deviation(sample) / NORMAL_MAD
    return float(factor * deviation / np.median(sample))


@lru_cache(maxsize=1024)
def _depth(count: int, confidence: float) -> tuple[int, float]:
    """Which value from either end is the outer neighbour, and the weight of the inner one."""
    depth = max(fair_quantile((1 - confidence) / 2, count), 1)
    # An interval from the k-th value to the k-th last misses where fewer than k lie on one side.
    covers, inner = 1 - 2 * fair_cdf([depth - 1, depth], count)
    share = (covers - confidence) / (covers - inner)
    return depth, float((count - depth) * share / (depth + (count - 2 * depth) * share))


def _interpolated(ordered: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Each end between two neighbours, but not in a gap as wide as all that lies between the ends.

    There the median may lie anywhere, as between two peaks of launches.
    """
    depth, weight = _depth(ordered.size, confidence)
    outer_low, inner_low = ordered[depth - 1 : depth + 1].tolist()
    inner_high, outer_high = ordered[-depth - 1 : ordered.size - depth + 1].tolist()
    between = inner_high - inner_low
    low = outer_low + weight * (inner_low - outer_low)
    high = outer_high - weight * (outer_high - inner_high)
    return (
        outer_low if inner_low - outer_low > between else low,
        outer_high if outer_high - inner_high > between else high,
    )


def _stretch(values: NDArray[np.float64], ordered: NDArray[np.float64]) -> float:
    """How much wider dependence between consecutive launches makes an interval; 1 for none.

    By the first autocorrelation of ranks (Wald and Wolfowitz, Ann. Math. Stat. 1943) where one as
    large has a chance of less than a fifth among independent launches, so that these pay little.
    """
    count = values.size
    # Twice the rank of each; equal values share theirs.
    below, upto = (np.searchsorted(ordered, values, side) for side in _SIDES)
    ranks = below + upto - float(count)
    spread = float((ranks**2).sum())
    if spread == 0:
        return 1.0
    correlation = float((ranks[1:] * ranks[:-1]).sum()) / spread + 1 / count
    if correlation <= _INDEPENDENT / math.sqrt(count):
        return 1.0
    correlation = min(correlation * (1 + 2 / count), _MOST_CORRELATED)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _lognormal(ordered: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Student's t on the logarithms."""
    logs = np.log(ordered)
    error = logs.std(ddof=1) / math.sqrt(logs.size)
    margin = error * float(student_quantile((1 + confidence) / 2, logs.size - 1))
    return float(np.exp(logs.mean() - margin)), float(np.exp(logs.mean() + margin))
