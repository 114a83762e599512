"""How much the launches of one chipset vary, learnt from launches that were repeated."""

import math
import statistics
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

# Until launches were repeated: that of a phone's processor, weighing as much as so many repeats.
_EXPECTED_SD_LOG, _WEIGHT = 0.05, 4
_LEAST_SD_LOG = 0.003
_TO_SD = 1.4826  # median absolute deviation to standard deviation, of a normal distribution
_MEDIAN = math.pi / 2  # variance of the median over that of the mean, likewise
_HIDDEN = 0.3  # of a step: with more, a launch in ten is told as another step
_FEW = 2
_FEWEST_STEPS = 4


def launch_sd(arms: Iterable[Sequence[float]], step: float = 0.0) -> float:
    """The robust standard deviation of the logarithm of a launch around its candidate's median.

    Pooled over candidates, each of which gives away one degree of freedom. A launch in ten that is
    half as slow again hardly moves it. Values that are told in steps hide what is smaller than a
    step, so not much less than one is believed.
    """
    arms = list(arms)
    deviations = [_EXPECTED_SD_LOG / _TO_SD] * _WEIGHT
    for values in arms:
        if len(values) >= _FEW:
            deviations += _deviations(tuple(values))
    least = _LEAST_SD_LOG
    if step > 0:
        typical = statistics.median(math.exp(_centre_log(tuple(each))) for each in arms)
        least = max(least, _HIDDEN * step / typical)
    return max(_TO_SD * statistics.median(deviations), least)


def estimate(values: Sequence[float]) -> tuple[float, float]:
    """The logarithm of the median, and its variance as a multiple of a launch's variance."""
    centre = _centre_log(tuple(values))
    return centre, 1 / len(values) if len(values) <= _FEW else _MEDIAN / len(values)


# A race asks for the same launches over and over.
@lru_cache(maxsize=4096)
def _centre_log(values: tuple[float, ...]) -> float:
    return statistics.median(map(math.log, values))


@lru_cache(maxsize=4096)
def _deviations(values: tuple[float, ...]) -> list[float]:
    centre, grown = _centre_log(values), math.sqrt(len(values) / (len(values) - 1))
    return [abs(math.log(each) - centre) * grown for each in values]


def resolution(arms: Iterable[Sequence[float]]) -> float:
    """The step of which every value is a multiple; 0 where values are not told in steps.

    Some tools tell whole milliseconds: what they call 13 may be anything from 12.5 to 13.5.
    """
    values = np.unique([value for each in arms for value in each])
    if len(values) < _FEWEST_STEPS:
        return 0.0
    step = float(np.diff(values).min())
    multiples = values / step
    return step if np.allclose(multiples, np.round(multiples), rtol=0, atol=1e-6) else 0.0


def reachable(limit: float, step: float) -> float:
    """The largest value that is told as one within ``limit``."""
    return limit if step <= 0 else (math.floor(limit / step) + 0.5) * step
