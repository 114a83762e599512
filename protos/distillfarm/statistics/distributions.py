"""The few functions of distributions that are needed, by ``scipy.special``.

``scipy.stats`` has them all, but takes a second or two to load, which each start of an agent and of
a controller would pay, and some 50 microseconds a call.
"""

import math
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Vector = NDArray[np.float64]

NORMAL_MAD = float(special.ndtri(0.75))
"""The median absolute deviation of a normal distribution, in its standard deviations."""


def normal_cdf(x: ArrayLike) -> Vector:
    """[n]: the chance of at most ``x``, standard normal."""
    return special.ndtr(_floats(x))


def normal_density(x: ArrayLike, scale: ArrayLike = 1.0) -> Vector:
    """[n]: of a normal distribution around 0 with the standard deviation ``scale``."""
    scales = _floats(scale)
    density: Vector = np.exp(-((_floats(x) / scales) ** 2) / 2) / (scales * math.sqrt(2 * math.pi))
    return density


def normal_quantile(chance: float) -> float:
    """What a standard normal value is at most with such a chance, 0..1."""
    return float(special.ndtri(chance))


def student_cdf(x: ArrayLike, freedom: float) -> Vector:
    """[n]: the chance of at most ``x`` by Student's t with so many degrees of freedom."""
    return cast("Vector", special.stdtr(freedom, _floats(x)))


def student_quantile(chance: ArrayLike, freedom: float) -> Vector:
    """[n]: what Student's t is at most with such chances, 0..1."""
    return cast("Vector", special.stdtrit(freedom, _floats(chance)))


def fair_cdf(heads: ArrayLike, tosses: int) -> Vector:
    """[n]: the chance of at most so many heads of a fair coin."""
    return special.bdtr(_floats(heads), tosses, 0.5)


def fair_quantile(chance: float, tosses: int) -> int:
    """The fewest heads of a fair coin of which at most so many have at least such a chance."""
    return int(np.searchsorted(fair_cdf(np.arange(tosses + 1), tosses), chance))


def median_absolute_deviation(values: ArrayLike) -> float:
    """Of the values from their median, in their unit."""
    sample = _floats(values)
    return float(np.median(np.abs(sample - np.median(sample))))


def _floats(values: ArrayLike) -> Vector:
    return np.asarray(values, dtype=float)
