"""Comparisons use exact distributions, find what is there and say what would show it."""

import numpy as np
import pytest
from scipy import stats

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.measurement import Finding
from distillfarm.statistics.comparison import (
    compare_pairs,
    compare_separate,
    rank_sum,
    signed_rank,
)

FIRST = [10.0, 10.4, 9.9, 10.2, 14.0, 10.1, 9.8, 10.3, 10.0, 10.1, 9.9, 10.2]


def test_signed_ranks_have_the_tabulated_distribution() -> None:
    # Of the 2^8 signs of 8 pairs 1, 1, 1, 2, 2, 3, 4, 5 give the sums 0 to 7.
    assert list(signed_rank(8)[:8] * 256) == [1, 1, 1, 2, 2, 3, 4, 5]
    assert signed_rank(30).sum() == pytest.approx(1)


def test_rank_sums_have_the_tabulated_distribution() -> None:
    # Partitions into at most 5 parts of at most 5, of C(10, 5) = 252.
    assert list(np.round(rank_sum(5, 5)[:6] * 252)) == [1, 1, 2, 3, 5, 7]
    assert rank_sum(20, 30).sum() == pytest.approx(1)


def test_the_interval_of_separate_sides_is_the_one_that_the_test_does_not_reject() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.lognormal(0, 0.1, 12), generator.lognormal(0.1, 0.1, 14)
    ratio = compare_separate("cold", list(first), list(second), 0.0).ratio
    for bound, outside in ((ratio.low, 0.999), (ratio.high, 1.001)):
        rejected = stats.mannwhitneyu(second / (bound * outside), first, method="exact")
        kept = stats.mannwhitneyu(second / (bound / outside), first, method="exact")
        assert rejected.pvalue <= 0.005 < kept.pvalue


def test_a_slower_second_side_is_found_in_turn_whatever_both_suffer() -> None:
    state = np.linspace(1, 2, 12)  # the phone grows twice as slow during the session
    first = [value * slower for value, slower in zip(FIRST, state, strict=True)]
    found = compare_pairs("warm_p50", first, [1.05 * each for each in first])
    assert found.finding is Finding.SLOWER
    assert found.ratio.value == pytest.approx(1.05)
    assert found.interleaved
    assert compare_pairs("warm_p50", [1.05 * each for each in first], first).finding is (
        Finding.FASTER
    )


def test_separate_sides_must_differ_by_more_than_the_minimum_effect() -> None:
    slower = [1.08 * each for each in FIRST]
    assert compare_separate("warm_p50", FIRST, slower, 0.05).finding is Finding.SLOWER
    small = compare_separate("warm_p50", FIRST, slower, 0.10)
    assert small.finding is Finding.NO_DIFFERENCE
    assert small.more_launches == 0
    assert "launches in turn would tell" in small.reason


def test_too_few_launches_show_nothing_and_say_how_many_are_missing() -> None:
    pairs = compare_pairs("warm_p50", FIRST[:6], [2 * each for each in FIRST[:6]])
    assert (pairs.finding, pairs.more_launches) == (Finding.NO_DIFFERENCE, 3)
    assert not pairs.ratio.bounded
    apart = compare_separate("warm_p50", FIRST[:5], [2 * each for each in FIRST[:5]], 0.05)
    assert (apart.finding, apart.more_launches) == (Finding.NO_DIFFERENCE, 1)


def test_what_noise_hides_says_how_many_more_launches_would_show_it() -> None:
    noise = [0.9, 1.15, 1.2, 0.95, 1.1, 1.02, 0.97, 1.12, 1.01, 1.08]
    second = [each * factor for each, factor in zip(FIRST, noise, strict=False)]
    hidden = compare_pairs("warm_p50", FIRST[:10], second)
    assert hidden.finding is Finding.NO_DIFFERENCE
    assert 1 <= hidden.more_launches <= 90
    again = compare_pairs("warm_p50", FIRST[:10] * 10, second * 10)
    assert again.finding is Finding.SLOWER


def test_false_alarms_are_rare_where_nothing_differs() -> None:
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        first, second = generator.lognormal(0, 0.1, (2, 12))
        found = compare_pairs("warm_p50", list(first), list(second))
        alarms += found.finding is not Finding.NO_DIFFERENCE
    assert alarms / 1000 <= 0.01


def test_sides_of_pairs_must_be_equally_long_and_positive() -> None:
    with pytest.raises(InvalidRequest, match="cannot be paired"):
        compare_pairs("cold", [1.0], [1.0, 2.0])
    with pytest.raises(InvalidRequest, match="positive"):
        compare_separate("cold", [1.0], [0.0], 0.1)
