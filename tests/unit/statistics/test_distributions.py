"""The functions of distributions, against SciPy's distributions."""

import numpy as np
import pytest
from scipy import stats

from distillfarm.statistics.distributions import (
    NORMAL_MAD,
    fair_cdf,
    fair_quantile,
    median_absolute_deviation,
    normal_cdf,
    normal_density,
    normal_quantile,
    student_cdf,
    student_quantile,
)

VALUES = np.linspace(-6.0, 6.0, 41)
# None is where a cumulated chance lies exactly.
CHANCES = np.linspace(0.001, 0.999, 40)


def test_normal() -> None:
    assert normal_cdf(VALUES) == pytest.approx(stats.norm.cdf(VALUES))
    assert normal_density(VALUES, 0.3) == pytest.approx(stats.norm.pdf(VALUES, scale=0.3))
    assert normal_quantile(0.975) == pytest.approx(stats.norm.ppf(0.975))


@pytest.mark.parametrize("freedom", [1, 2, 5, 30])
def test_student(freedom: int) -> None:
    assert student_cdf(VALUES, freedom) == pytest.approx(stats.t.cdf(VALUES, freedom))
    assert student_quantile(CHANCES, freedom) == pytest.approx(stats.t.ppf(CHANCES, freedom))


@pytest.mark.parametrize("tosses", [1, 2, 5, 6, 31, 320])
def test_fair_coin(tosses: int) -> None:
    heads = np.arange(tosses + 1)
    assert fair_cdf(heads, tosses) == pytest.approx(stats.binom.cdf(heads, tosses, 0.5))
    for chance in CHANCES:
        assert fair_quantile(float(chance), tosses) == stats.binom.ppf(chance, tosses, 0.5)


def test_median_absolute_deviation() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 100.0]
    assert median_absolute_deviation(values) == stats.median_abs_deviation(values)
    scaled = stats.median_abs_deviation(values, scale="normal")
    assert median_absolute_deviation(values) / NORMAL_MAD == pytest.approx(scaled)
