"""How many launches it takes to verify a bound, and how far from it a candidate must stay for it.

Of n launches each of which is within the bound with probability p the evidence for a median within
grows like n (log 2 - H(p)) - log(n) / 2; see ``statistics.verdicts``.
"""

import math
from functools import lru_cache

import numpy as np

from distillfarm.controller.search.process import Vector
from distillfarm.statistics.distributions import normal_quantile
from distillfarm.statistics.verdicts import FALSE_PASS

_TYPICAL = 0.8
"""Of the launches that may be made: half of all verifications take more than expected."""
_SHARES = np.linspace(0.5, 1.0, 501)[1:-1]
_SURE = 0.97
"""However far from the bound: one launch in thirty is slow for no reason."""
_ENDLESS = 1e6


def verifiable_margin(launches: int) -> float:
    """In standard deviations of a launch, from the median to the bound."""
    count = np.full(len(_SHARES), max(_TYPICAL * launches, 1.0))
    enough = _SHARES[_growth(_SHARES) >= _evidence(count) / count]
    return normal_quantile(enough[0] if len(enough) else _SHARES[-1])


def launches_to_pass(shares: Vector) -> Vector:
    """How many launches are expected to pass where so many, 0..1, are within the bound.

    A million where it is half of them or fewer.
    """
    needed: Vector = np.interp(np.minimum(shares, _SURE), _SHARES, _needed(), left=_ENDLESS)
    return needed


@lru_cache(maxsize=1)
def _needed() -> Vector:
    needed = np.full(len(_SHARES), 1.0)
    for _ in range(50):
        needed = np.maximum(_evidence(needed) / _growth(_SHARES), 1.0)
    settled: Vector = np.minimum(np.ceil(needed), _ENDLESS)
    return settled


def _evidence(count: Vector) -> Vector:
    needed: Vector = 0.5 * np.log(count) - math.log(FALSE_PASS)
    return needed


def _growth(shares: Vector) -> Vector:
    entropy = -shares * np.log(shares) - (1 - shares) * np.log(1 - shares)
    growth: Vector = np.maximum(math.log(2) - entropy, 1e-12)
    return growth
