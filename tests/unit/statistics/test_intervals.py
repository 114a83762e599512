"""Intervals over launches are the order statistics that theory says, and widen for dependence."""

import numpy as np
import pytest

from distillfarm.domain.errors import InvalidRequest
from distillfarm.statistics.intervals import over_launches, robust_variation

TEN = [7.0, 1.0, 9.0, 3.0, 10.0, 2.0, 6.0, 8.0, 4.0, 5.0]


def test_ten_launches_give_the_interpolated_second_and_third_from_either_end() -> None:
    # Coverage of the 2nd to 9th of ten is 97.85 %, of the 3rd to 8th 89.06 % (exact binomial);
    # 95 % lies 0.3243 of the way, by Hettmansperger and Sheather 0.6575 in weight.
    interval = over_launches(TEN)
    assert interval.value == pytest.approx(5.5)
    assert interval.low == pytest.approx(2.6577, abs=1e-4)
    assert interval.high == pytest.approx(8.3423, abs=1e-4)


def test_five_launches_give_their_range() -> None:
    interval = over_launches([3.0, 1.0, 5.0, 2.0, 4.0])
    assert (interval.low, interval.value, interval.high) == pytest.approx((1.0, 3.0, 5.0))


def test_three_launches_fall_back_on_student_s_t() -> None:
    # t(0.975, 2) = 4.3027 on logs 0, 1, 2: their mean is 1, the standard error 1 / sqrt(3).
    interval = over_launches(list(np.exp([0.0, 1.0, 2.0])))
    assert np.log([interval.low, interval.high]) == pytest.approx(
        [1 - 4.3027 / 3**0.5, 1 + 4.3027 / 3**0.5], abs=1e-3
    )


def test_one_wild_launch_in_ten_moves_neither_value_nor_interval() -> None:
    wild = [100.0 if each == 10.0 else each for each in TEN]
    assert over_launches(wild) == over_launches(TEN)


def test_an_end_is_not_put_into_a_gap_between_two_peaks() -> None:
    # Six launches: the range covers 96.9 %. Its upper neighbour is across the gap, where the
    # median of the device may lie as well.
    interval = over_launches([31.2, 31.0, 31.4, 50.0, 31.1, 31.3])
    assert interval.high == pytest.approx(50.0)
    assert interval.low < 31.1


@pytest.mark.parametrize("launches", [3, 5, 6, 10, 20])
def test_interval_covers_the_true_median_of_noisy_launches(launches: int) -> None:
    generator = np.random.default_rng(launches)
    hits = 0
    for _ in range(1000):
        drawn = over_launches(list(2.0 * np.exp(generator.normal(0, 0.1, launches))))
        hits += drawn.low <= 2.0 <= drawn.high
    assert 0.92 <= hits / 1000 <= 0.98


def test_launches_that_resemble_their_neighbours_get_a_wider_interval() -> None:
    climbing = over_launches(sorted(TEN))
    mixed = over_launches(TEN)
    assert climbing.value == mixed.value
    assert climbing.low < mixed.low < mixed.high < climbing.high


def test_intervals_over_iterations_would_miss_the_true_median() -> None:
    # Why the launch is the unit: the same arithmetic over one launch's samples is sure of itself
    # and wrong, since its spread is not the spread that matters.
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        launch_median = 2.0 * np.exp(generator.normal(0, 0.1))
        drawn = over_launches(list(launch_median * np.exp(generator.normal(0, 0.02, 200))))
        hits += drawn.low <= 2.0 <= drawn.high
    assert hits / 500 < 0.1


def test_one_launch_has_no_bounds() -> None:
    interval = over_launches([2.0])
    assert interval.value == pytest.approx(2.0)
    assert not interval.bounded


def test_equal_launches_have_no_width() -> None:
    interval = over_launches([2.0] * 8)
    assert (interval.low, interval.high) == (2.0, 2.0)


@pytest.mark.parametrize("values", [[], [0.0, 1.0], [-1.0], [float("nan")]])
def test_values_that_are_no_durations_are_refused(values: list[float]) -> None:
    with pytest.raises(InvalidRequest):
        over_launches(values)
    with pytest.raises(InvalidRequest):
        robust_variation(values)


def test_variation_is_the_usual_one_for_normal_launches_and_ignores_a_wild_one() -> None:
    generator = np.random.default_rng(1)
    few = [robust_variation(list(generator.normal(10, 1, 6))) for _ in range(2000)]
    assert np.mean(few) == pytest.approx(0.10, rel=0.05)
    steady = list(generator.normal(10, 0.1, 50))
    assert robust_variation([*steady, 100.0]) == pytest.approx(0.01, rel=0.3)
    assert robust_variation([3.0]) == 0.0
