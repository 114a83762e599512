"""Intervals over launches cover what they promise, and summaries keep to the raw samples."""

import numpy as np
import pytest

from distillfarm.controller.statistics import cv_limit, over_launches, summarise, variation
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import ComputeUnit, Platform, Runtime, Target
from distillfarm.domain.job import ColdStart, MeasureSpec
from distillfarm.domain.measurement import (
    Energy,
    Launch,
    Measurement,
    MemoryReading,
    Outcome,
)

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


@pytest.mark.parametrize("launches", [3, 5, 10])
def test_interval_covers_the_true_median_of_noisy_launches(launches: int) -> None:
    generator = np.random.default_rng(launches)
    hits = 0
    for _ in range(2000):
        drawn = over_launches(list(2.0 * np.exp(generator.normal(0, 0.1, launches))))
        hits += drawn.low <= 2.0 <= drawn.high
    assert 0.93 <= hits / 2000 <= 0.97


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


@pytest.mark.parametrize("values", [[], [0.0, 1.0], [-1.0]])
def test_values_that_are_no_durations_are_refused(values: list[float]) -> None:
    with pytest.raises(InvalidRequest):
        over_launches(values)


def test_summary_speaks_of_launches_not_of_samples() -> None:
    summary = summarise(measurement(launch([1.0] * 99 + [9.0]), launch([2.0] * 99 + [9.0])))
    assert summary.launches == 2
    assert summary.iterations == 200
    assert summary.warm_p50_ms.value == pytest.approx(2**0.5)
    assert summary.warm_p50_ms.low < 1.0
    assert summary.warm_p50_ms.high > 2.0
    assert summary.cold_ms.value == pytest.approx(40.0)
    assert summary.peak_memory_bytes.value == pytest.approx(50e6)


def test_launches_that_disagree_are_unstable() -> None:
    steady = summarise(measurement(launch([1.0] * 10), launch([1.01] * 10)))
    wild = summarise(measurement(launch([1.0] * 10), launch([2.0] * 10)))
    assert steady.stable
    assert not wild.stable
    assert wild.launch_cv == pytest.approx(variation([1.0, 2.0]))


def test_an_emulated_device_is_never_stable() -> None:
    same = [launch([1.0] * 10)] * 3
    assert not summarise(measurement(*same, emulated=True)).stable


def test_a_measurement_without_launches_has_no_summary() -> None:
    with pytest.raises(InvalidRequest, match="outcome ok"):
        summarise(measurement())


def test_a_launch_without_samples_has_no_summary() -> None:
    with pytest.raises(InvalidRequest, match="without samples"):
        summarise(measurement(launch([1.0]), launch([])))


def test_npus_must_be_steadier_than_cpus() -> None:
    npu = Target(Runtime.LITERT, "qnn", ComputeUnit.NPU)
    assert cv_limit(Platform.ANDROID, npu) < cv_limit(Platform.IOS, CPU)
    assert cv_limit(Platform.IOS, CPU) < cv_limit(Platform.ANDROID, CPU)
