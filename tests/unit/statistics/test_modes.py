"""Peaks of launches are found where there are several, and not made up where there is one."""

import numpy as np
import pytest

from distillfarm.statistics.dip import dip
from distillfarm.statistics.modes import peaks


def test_the_dip_of_two_tight_halves_is_the_largest_there_is() -> None:
    assert dip([0.0, 1e-6, 1.0, 1.0 + 1e-6]).distance == pytest.approx(0.25, abs=1e-5)


def test_the_dip_of_evenly_spaced_values_is_the_smallest_there_is() -> None:
    assert dip(np.arange(20.0)).distance == pytest.approx(1 / 40)


def test_the_dip_agrees_with_a_linear_programme_over_all_single_peaks() -> None:
    # Found by minimising the distance over convex-concave functions for every place of the peak.
    values = np.sort(np.random.default_rng(0).random(8))
    assert dip(values).distance == pytest.approx(0.11723260320628079)


def test_load_times_around_31_and_50_ms_are_two_peaks() -> None:
    found = peaks([31, 50, 31, 31, 50, 31, 50, 31, 31, 50])
    assert [each.centre_ms for each in found] == [31, 50]
    assert [each.share for each in found] == pytest.approx([0.6, 0.4])


def test_three_peaks_among_hundreds_of_samples_are_found() -> None:
    generator = np.random.default_rng(2)
    samples = [*generator.normal(31, 0.5, 200), *generator.normal(50, 0.5, 150)]
    samples += list(generator.normal(80, 1, 150))
    generator.shuffle(samples)
    assert [round(each.centre_ms) for each in peaks(samples)] == [31, 50, 80]


def test_rare_slow_launches_are_no_peak_of_their_own() -> None:
    recorded = [2.41, 2.92, 2.92, 2.17, 4.39, 2.29, 2.16, 2.3, 2.12, 2.34]
    assert len(peaks(recorded)) == 1


def test_what_a_coarse_clock_shows_is_one_peak() -> None:
    assert len(peaks([10, 11, 10, 10, 11, 11, 10, 11, 10, 11, 11, 10])) == 1


def test_peaks_closer_than_any_class_can_tell_are_one() -> None:
    assert len(peaks([1.0] * 10 + [1.01] * 10)) == 1


@pytest.mark.parametrize("count", [6, 20])
def test_skewed_noise_with_one_peak_is_hardly_ever_taken_for_two(count: int) -> None:
    generator = np.random.default_rng(count)
    several = [len(peaks(list(generator.lognormal(1, 0.4, count)))) > 1 for _ in range(400)]
    assert np.mean(several) <= 0.015


def test_no_values_have_no_peaks_and_one_has_one() -> None:
    assert peaks([]) == ()
    assert [each.share for each in peaks([3.0])] == [1.0]
