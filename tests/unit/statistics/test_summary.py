"""Summaries keep to the raw samples, speak of launches, and name what makes them unstable."""

import pytest

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import ComputeUnit, Runtime, Target
from distillfarm.domain.job import ColdStart, MeasureSpec
from distillfarm.domain.measurement import (
    Energy,
    Launch,
    Measurement,
    MemoryReading,
    Outcome,
)
from distillfarm.statistics.summary import summarise

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
