"""Summaries keep to the raw samples, speak of launches, and name what makes them unstable."""

import numpy as np
import pytest

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import ComputeUnit, Platform, Runtime, Target
from distillfarm.domain.job import ColdStart, MeasureSpec, Mode
from distillfarm.domain.measurement import (
    Energy,
    Launch,
    Measurement,
    MemoryReading,
    Outcome,
)
from distillfarm.statistics.summary import launch_values, summarise, summarise_launches

CPU = Target(Runtime.ONNXRUNTIME, "cpu", ComputeUnit.CPU)


def launch(samples_ms: list[float], cold_ms: float = 40.0) -> Launch:
    return Launch(
        cold_start=ColdStart.NEW_PROCESS,
        first_output_ns=int(cold_ms * 1e6),
        runtime_ns=int(20e6),
        load_ns=int(10e6),
        first_inference_ns=int(2e6),
        warmup_ns=(),
        samples_ns=tuple(int(each * 1e6) for each in samples_ms),
        memory=MemoryReading("VmHWM", 30_000_000, 40_000_000, 50_000_000),
        placements=(),
    )


def measurement(*launches: Launch, emulated: bool = False) -> Measurement:
    return Measurement(
        measurement_id="measurement-1",
        job_id="job-1",
        device_id="device-1",
        artifact_digest="sha256:" + "0" * 64,
        target=CPU,
        spec=MeasureSpec(),
        outcome=Outcome.OK,
        reason="",
        launches=launches,
        energy=Energy(reason="no meter"),
        context=(),
        started_at_s=0.0,
        device_s=1.0,
        emulated=emulated,
    )


def test_summary_speaks_of_launches_not_of_samples() -> None:
    summary = summarise(measurement(launch([1.0] * 99 + [9.0]), launch([2.0] * 99 + [9.0])))
    assert summary.launches == 2
    assert summary.iterations == 200
    assert summary.warm_p50_ms.value == pytest.approx(1.5)
    assert summary.warm_p50_ms.low < 1.0
    assert summary.warm_p50_ms.high > 2.0
    assert summary.cold_ms.value == pytest.approx(40.0)
    assert summary.peak_memory_bytes.value == pytest.approx(50e6)


def test_launches_that_disagree_are_unstable() -> None:
    steady = summarise(measurement(launch([1.0] * 10), launch([1.01] * 10)))
    wild = summarise(measurement(launch([1.0] * 10), launch([2.0] * 10)))
    assert steady.stable
    assert not wild.stable
    assert "differ by" in wild.instability


def test_an_emulated_device_is_never_stable() -> None:
    same = [launch([1.0] * 10)] * 3
    assert not summarise(measurement(*same, emulated=True)).stable


def test_a_measurement_without_launches_has_no_summary() -> None:
    with pytest.raises(InvalidRequest, match="outcome ok"):
        summarise(measurement())


def test_a_launch_without_samples_has_no_summary() -> None:
    with pytest.raises(InvalidRequest, match="without samples"):
        summarise(measurement(launch([1.0]), launch([])))


def test_launches_around_two_values_are_unstable_and_say_where() -> None:
    # Each within the limit of the class, and no launch near the median of both.
    made = [launch([31.0 + 0.01 * n] * 10) for n in range(8)]
    made += [launch([34.0 + 0.01 * n] * 10) for n in range(8)]
    summary = summarise(measurement(*made))
    assert not summary.stable
    assert "gather around 31 ms (50%) and 34 ms (50%)" in summary.instability
    assert [round(each.centre_ms) for each in summary.warm_peaks] == [31, 34]


def test_one_slow_launch_in_ten_leaves_value_and_stability_alone() -> None:
    steady = [launch([1.0 + 0.005 * n] * 10) for n in range(9)]
    summary = summarise(measurement(*steady, launch([1.8] * 10)))
    assert summary.stable
    assert summary.warm_p50_ms.value == pytest.approx(1.0225)


def test_drifting_launches_are_counted_and_the_typical_one_is_told() -> None:
    course = np.linspace(1.0, 1.2, 400)
    drifting = launch(list(course))
    summary = summarise(measurement(drifting, drifting, launch([1.0] * 400)))
    assert summary.drifting == 2
    assert summary.drift == pytest.approx(1.18 / 1.02 - 1, abs=0.01)


def test_endurance_is_told_for_the_mode_that_shows_it_alone() -> None:
    hot = [launch([1.0] * 200 + [1.5] * 200)] * 3
    burst = summarise_launches(hot, CPU, Platform.ANDROID)
    lasting = summarise_launches(hot, CPU, Platform.ANDROID, mode=Mode.SUSTAINED)
    assert burst.sustained is None
    assert lasting.sustained is not None
    assert lasting.sustained.last_ms == pytest.approx(1.5)


def test_the_class_of_device_gives_the_limit_and_the_minimum_effect() -> None:
    made = [launch([1.0 + 0.03 * n] * 10) for n in range(6)]
    assert summarise(measurement(*made), Platform.HOST).stable
    phone = summarise(measurement(*made), Platform.IOS)
    assert not phone.stable
    assert phone.minimum_effect == 0.05
    assert "the limit of iPhone CPUs is 5%" in phone.instability


def test_values_come_one_a_launch_in_milliseconds() -> None:
    values = launch_values([launch([1.0, 2.0, 3.0], cold_ms=50.0), launch([4.0])])
    assert values.warm_p50_ms == pytest.approx((2.0, 4.0))
    assert values.cold_ms == pytest.approx((50.0, 40.0))
    assert values.peak_memory_bytes == (50_000_000, 50_000_000)
