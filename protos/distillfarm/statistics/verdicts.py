"""Whether a bound holds, judged so that one may look after every launch and always measure more.

A launch is within the bound or beyond it. If the median lies beyond, no more than half of all
launches are within, and the tosses of such a coin cannot look lucky for long: a bet against it that
starts with 1 reaches 100 with a chance of at most 1 in 100, however often one looks (Ville 1939).
The bet is a mixture over all coins that are better than fair (Robbins, "Statistical methods related
to the law of the iterated logarithm", Ann. Math. Stat. 1970; Howard and Ramdas, "Sequential
estimation of quantiles with applications to A/B testing and best-arm identification", Bernoulli
2022). It assumes no distribution of launches.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Verdict
from distillfarm.statistics.distributions import normal_quantile

FALSE_PASS = 0.01
FALSE_FAIL = 0.02

_MOST_MORE = 1000
_NORMAL_95 = normal_quantile(0.975)


@dataclass(frozen=True)
class LaunchVerdict:
    """A verdict by launches; ``more_launches`` would probably settle an inconclusive one.

    0 where it is settled, or where the launches lean to neither side.
    """

    verdict: Verdict
    more_launches: int


def judge_launches(
    values: Sequence[float],
    limit: float,
    false_pass: float = FALSE_PASS,
    false_fail: float = FALSE_FAIL,
) -> LaunchVerdict:
    """Whether the median over launches is at most ``limit``.

    Valid after any number of launches and looks: over a whole life of looking, the chance of a
    PASS for a median beyond the limit is at most ``false_pass``, that of a FAIL for one within at
    most ``false_fail``. Nine launches that agree are the fewest that pass, eight that fail.

    Args:
        values: one number a launch, in the unit of ``limit``; more may be appended at any time.
        limit: the bound; a launch at it is within.
        false_pass: 0..1.
        false_fail: 0..1.
    """
    within = int(np.count_nonzero(np.asarray(values, dtype=float) <= limit))
    beyond = len(values) - within
    verdict = judge_counts(within, beyond, false_pass, false_fail)
    if verdict is not Verdict.INCONCLUSIVE:
        return LaunchVerdict(verdict, 0)
    needed = -math.log(false_pass if within > beyond else false_fail)
    more = _more_launches(max(within, beyond), min(within, beyond), needed)
    return LaunchVerdict(verdict, more)


def judge_counts(
    within: int, beyond: int, false_pass: float = FALSE_PASS, false_fail: float = FALSE_FAIL
) -> Verdict:
    """The verdict when so many launches were within the bound and so many beyond it."""
    if log_evidence(within, beyond) >= -math.log(false_pass):
        return Verdict.PASS
    if log_evidence(beyond, within) >= -math.log(false_fail):
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def judge_interval(
    interval: Interval,
    limit: float,
    false_pass: float = FALSE_PASS,
    false_fail: float = FALSE_FAIL,
) -> Verdict:
    """Whether a quantity that is not measured by launches is at most ``limit``.

    Args:
        interval: a 95 % interval of an approximately normal estimate, each half of which is
            stretched to the one-sided error that is allowed.
        limit: the bound, in the interval's unit.
        false_pass: 0..1.
        false_fail: 0..1.
    """
    upwards = (interval.high - interval.value) * normal_quantile(1 - false_pass) / _NORMAL_95
    if interval.value + upwards <= limit:
        return Verdict.PASS
    downwards = (interval.value - interval.low) * normal_quantile(1 - false_fail) / _NORMAL_95
    if interval.value - downwards > limit:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def log_evidence(favourable: float, adverse: float) -> float:
    """The logarithm of what a stake of 1 has grown to, betting that the coin is better than fair.

    The mixture over its chance p, uniform on [1/2, 1], of p^favourable (1 - p)^adverse against
    (1/2)^tosses: 2 * 2^tosses * B(favourable + 1, adverse + 1) * P(p > 1/2), where p is
    beta-distributed.
    """
    heads, tails = favourable + 1.0, adverse + 1.0
    upper = special.betaincc(heads, tails, 0.5)
    tosses = favourable + adverse
    return float((tosses + 1) * math.log(2) + special.betaln(heads, tails) + np.log(upper))


def _more_launches(favourable: int, adverse: int, needed: float) -> int:
    """So many more launches, split as those so far, make the evidence reach ``needed``."""
    if favourable == adverse:
        return 0
    share = favourable / (favourable + adverse)
    low, high = 0, _MOST_MORE

    def reaches(more: int) -> bool:
        return log_evidence(favourable + more * share, adverse + more * (1 - share)) >= needed

    if not reaches(high):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
