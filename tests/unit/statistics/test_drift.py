"""Drift inside a launch is told from noise, and launches that never rest are followed."""

from dataclasses import replace

import numpy as np
import pytest
from farm_samples import launch
from scipy.signal import lfilter

from distillfarm.statistics.drift import drift, sustained

COUNT = 400


def noisy(course: np.ndarray, spread: float = 0.03, seed: int = 0) -> list[int]:
    noise = np.random.default_rng(seed).standard_normal(course.size)
    return [int(each) for each in 1e6 * course * (1 + spread * noise)]


def test_a_throttling_step_is_found_with_its_size() -> None:
    course = np.where(np.arange(COUNT) < 250, 1.0, 1.2)
    assert drift(noisy(course)) == pytest.approx(0.2, abs=0.02)


def test_a_step_near_the_end_is_found() -> None:
    assert drift(noisy(np.where(np.arange(COUNT) < 320, 1.0, 1.15))) > 0.1


def test_a_slow_ramp_is_found() -> None:
    assert drift(noisy(np.linspace(1, 1.1, COUNT))) == pytest.approx(0.08, abs=0.02)


def test_a_launch_that_speeds_up_drifts_downwards() -> None:
    assert drift(noisy(np.linspace(1.2, 1, COUNT))) < -0.1


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_stationary_noise_hardly_ever_drifts(correlation: float) -> None:
    generator = np.random.default_rng(9)
    noise = lfilter([1], [1, -correlation], generator.standard_normal((200, COUNT + 50)), axis=1)
    samples = (1e6 * (1 + 0.03 * noise[:, 50:])).astype(int)
    assert np.mean([drift(each.tolist()) != 0 for each in samples]) <= 0.01


def test_what_is_too_short_constant_or_tiny_does_not_drift() -> None:
    assert drift(noisy(np.linspace(1, 2, 50))) == 0
    assert drift([1_000_000] * COUNT) == 0
    assert drift(noisy(np.linspace(1, 1.005, COUNT), spread=1e-4)) == 0


def test_a_launch_that_throttles_half_way_tells_when() -> None:
    course = np.where(np.arange(COUNT) < COUNT // 2, 1.0, 1.3)
    hot = replace(launch(), samples_ns=tuple(noisy(course)), sampling_s=600.0)
    found = sustained([hot, hot, hot])
    assert found is not None
    assert found.first_ms == pytest.approx(1.0, rel=0.02)
    assert found.last_ms == pytest.approx(1.3, rel=0.02)
    assert found.slower_after_s == pytest.approx(300, abs=20)


def test_a_launch_that_recovers_has_not_grown_slower_for_good() -> None:
    middle = (np.arange(COUNT) > COUNT // 3) & (np.arange(COUNT) < COUNT // 2)
    found = sustained([replace(launch(), samples_ns=tuple(noisy(np.where(middle, 1.5, 1.0))))])
    assert found is not None
    assert found.slower_after_s is None


def test_without_samples_enough_nothing_is_said_of_endurance() -> None:
    assert sustained([]) is None
    assert sustained([launch()]) is None
