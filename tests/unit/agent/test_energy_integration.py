"""Energy out of readings whose true energy is known, within the resolution that is claimed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillfarm.agent.meters.integration import (
    COARSEST,
    Point,
    Record,
    Stretch,
    cumulative,
    energy_of,
    joules_between,
)
from distillfarm.agent.protocols import Window

IDLE = Stretch(0.0, 10.0)


def true_joules(t_s: float, begin_s: float, end_s: float, idle_w: float, busy_w: float) -> float:
    """Joules since 0 of a device that draws ``busy_w`` from ``begin_s`` to ``end_s``."""
    return idle_w * t_s + (busy_w - idle_w) * min(max(t_s - begin_s, 0.0), end_s - begin_s)


@given(
    begin_s=st.floats(10.0, 20.0),
    length_s=st.floats(0.1, 60.0),
    interval_s=st.floats(0.02, 5.0),
    phase=st.floats(0.0, 1.0),
    idle_w=st.floats(0.0, 2.0),
    busy_w=st.floats(2.0, 12.0),
)
def test_what_is_told_is_true_within_its_resolution(
    *,
    begin_s: float,
    length_s: float,
    interval_s: float,
    phase: float,
    idle_w: float,
    busy_w: float,
) -> None:
    end_s = begin_s + length_s
    times = [(number + phase) * interval_s for number in range(math.ceil(100 / interval_s))]
    curve = tuple(
        Point(t_s, true_joules(t_s, begin_s, end_s, idle_w, busy_w)) for t_s in [0.0, *times[1:]]
    )
    windows = [Window(begin_s, end_s, 100)]
    energy = energy_of(Record("made", curve, interval_s), windows, IDLE)
    if energy.reason:
        assert "too short" in energy.reason
        assert 2 * interval_s > COARSEST * length_s * 0.99
        return
    assert energy.gross_mj is not None
    assert energy.net_mj is not None
    assert energy.resolution_mj is not None
    assert abs(energy.gross_mj - 10 * busy_w * length_s) <= energy.resolution_mj + 1e-6
    assert energy.resolution_mj <= COARSEST * energy.gross_mj
    assert (energy.interval_s, energy.repeats) == (interval_s, 1)


def test_idle_power_measured_beside_it_is_taken_off() -> None:
    curve = tuple(Point(float(t), true_joules(float(t), 20, 60, 1.0, 5.0)) for t in range(101))
    windows = [Window(20.0, 40.0, 100), Window(40.0, 60.0, 100)]
    energy = energy_of(Record("made", curve, 1.0), windows, IDLE)
    assert energy.gross_mj == pytest.approx(1000.0)
    assert energy.net_mj == pytest.approx(800.0)
    # Four edges, each known to a second of 5 W, over 200 inferences.
    assert energy.resolution_mj == pytest.approx(100.0)
    assert energy.repeats == 2
    assert energy_of(Record("made", curve, 1.0), windows, None).net_mj is None


def test_an_error_of_the_clock_and_a_coarse_counter_widen_the_resolution() -> None:
    curve = tuple(Point(float(t), 5.0 * t) for t in range(101))
    windows = [Window(20.0, 60.0, 100)]
    exact = energy_of(Record("made", curve, 1.0), windows, IDLE)
    vague = energy_of(Record("made", curve, 1.0, clock_s=0.5, quantum_j=2.0), windows, IDLE)
    assert exact.resolution_mj == pytest.approx(100.0)
    assert vague.resolution_mj == pytest.approx(100.0 + 50.0 + 20.0)


def test_too_short_a_stretch_is_refused_with_what_would_be_needed() -> None:
    curve = tuple(Point(2.0 * t, 10.0 * t) for t in range(51))
    energy = energy_of(Record("slow gauge", curve, 2.0), [Window(20.0, 22.5, 100)], IDLE)
    assert energy.gross_mj is None
    assert energy.reason == (
        "2.50 s of inference in 1 launches are too short for slow gauge with a reading every 2 s; "
        "need 8 s: ask for more iterations and a longer max_sampling_s"
    )


def test_a_counter_that_stood_still_tells_nothing_rather_than_zero() -> None:
    curve = tuple(Point(float(t), 7.0) for t in range(101))
    energy = energy_of(Record("made", curve, 1.0, quantum_j=0.1), [Window(20.0, 60.0, 100)], IDLE)
    assert energy.gross_mj is None
    assert "saw 0 mJ in 40.0 s of inference, known to 100 mJ only" in energy.reason


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([], "no inference was timed"),
        ([Window(50.0, 120.0, 9)], "do not cover"),
        ([Window(-1.0, 50.0, 9)], "do not cover"),
    ],
)
def test_windows_that_were_not_seen_tell_nothing(windows: list[Window], words: str) -> None:
    curve = tuple(Point(float(t), 5.0 * t) for t in range(101))
    energy = energy_of(Record("made", curve, 1.0), windows, IDLE)
    assert energy.gross_mj is None
    assert words in energy.reason


def test_powers_are_joined_by_straight_lines() -> None:
    curve = cumulative([Point(0.0, 2.0), Point(2.0, 4.0), Point(3.0, 0.0)])
    assert curve == (Point(0.0, 0.0), Point(2.0, 6.0), Point(3.0, 8.0))
    assert joules_between(curve, 1.0, 2.5) == pytest.approx(4.0)
    assert cumulative([]) == ()
