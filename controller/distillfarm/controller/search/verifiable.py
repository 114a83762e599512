"""How far from a bound a candidate must stay to be verified by so many launches."""

import math

import numpy as np
from scipy.stats import norm

from distillfarm.statistics.verdicts import FALSE_PASS

_TYPICAL = 0.8
"""Of the launches that may be made: half of all verifications take more than expected."""


def verifiable_margin(launches: int) -> float:
    """In standard deviations of a launch, from the median to the bound.

    Of n launches each of which is within the bound with probability p the evidence for a median
    within grows like n (log 2 - H(p)) - log(n) / 2; see ``statistics.verdicts``.
    """
    count = max(_TYPICAL * launches, 1.0)
    needed = (-math.log(FALSE_PASS) + 0.5 * math.log(count)) / count
    shares = np.linspace(0.5, 1.0, 501)[1:-1]
    entropy = -shares * np.log(shares) - (1 - shares) * np.log(1 - shares)
    enough = shares[math.log(2) - entropy >= needed]
    return float(norm.ppf(enough[0] if len(enough) else shares[-1]))
