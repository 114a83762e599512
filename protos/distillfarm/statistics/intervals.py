"""The typical launch with its interval, whatever the distribution of launches.

Samples inside one launch share its memory layout, clock and thermal state, so an interval over
them says nothing about the next launch (Kalibera and Jones, "Rigorous Benchmarking in Reasonable
Time", ISMM 2013). Every interval here is over launches. About one launch in ten of a phone is 20 to
80 % slower than the rest; the median does not mind, a mean does.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.interval import UNBOUNDED, Interval

CONFIDENCE = 0.95

# Five launches' range covers 93.75 %; that is taken for 95 %, and said.
_RANGE_SHORTFALL = 0.0125
# Croux and Rousseeuw, "Time-efficient algorithms for two highly robust estimators of scale",
# COMPSTAT 1992: what makes the MAD of so few normal values unbiased; n / (n - 0.8) from 10 on.
_MAD_FACTORS = (1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107)


def over_launches(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median over launches with an interval that holds the population's median.

    From order statistics, interpolated between two neighbours (Hettmansperger and Sheather,
    "Confidence intervals based on interpolated order statistics", Statistics & Probability Letters
    1986; Nyblom, "Note on interpolated order statistics", ibid. 1992): it assumes no distribution.
    Where even the range of so few values covers less than ``confidence`` it is

    - the range, if that covers almost as much: five launches, 93.75 %;
    - else Student's t on the logarithms around the median, which does assume one.

    One value has no spread to learn from: its interval is unbounded.

    Args:
        values: one positive number a launch, in any unit.
        confidence: the share of such intervals that are to hold the median, 0..1.

    Raises:
        InvalidRequest: no values, or one that is not positive.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if ordered.size == 0 or not np.all(ordered > 0):
        raise InvalidRequest("an interval over launches needs at least one positive value")
    middle = float(np.median(ordered))
    if ordered.size == 1:
        return Interval(middle, 0.0, UNBOUNDED)
    range_covers = 1.0 - 0.5 ** (ordered.size - 1)
    if range_covers >= confidence:
        return Interval(middle, *_interpolated(ordered, confidence))
    if range_covers >= confidence - _RANGE_SHORTFALL:
        return Interval(middle, float(ordered[0]), float(ordered[-1]))
    return Interval(middle, *_lognormal(ordered, confidence))


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
    deviation = stats.median_abs_deviation(sample, scale="normal")
    return float(factor * deviation / np.median(sample))


def _interpolated(ordered: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Between the ``depth``-th values from either end, which cover enough, and the next."""
    count = ordered.size
    # P(fewer than k of the values lie below the median); k values cut off at each end cover less.
    depth = max(int(stats.binom.ppf((1 - confidence) / 2, count, 0.5)), 1)
    covers, inner = (1 - 2 * stats.binom.cdf(k - 1, count, 0.5) for k in (depth, depth + 1))
    share = (covers - confidence) / (covers - inner)
    weight = (count - depth) * share / (depth + (count - 2 * depth) * share)
    low = (1 - weight) * ordered[depth - 1] + weight * ordered[depth]
    high = (1 - weight) * ordered[-depth] + weight * ordered[-depth - 1]
    return float(low), float(high)


def _lognormal(ordered: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Student's t on the logarithms (Olsson, J. Stat. Educ. 2005)."""
    logs = np.log(ordered)
    margin = stats.t.ppf((1 + confidence) / 2, logs.size - 1) * stats.sem(logs)
    return float(np.exp(logs.mean() - margin)), float(np.exp(logs.mean() + margin))
