"""Two artifacts are compared in turn or apart, and only where only the artifact differs."""

from collections.abc import Sequence
from dataclasses import replace

import farm_samples as samples
import pytest

from distillfarm.controller.comparing import apart, in_turn
from distillfarm.controller.differences import by_how_much, found, verdict
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Chipset, Device, DeviceInfo, DeviceStatus, Platform
from distillfarm.domain.job import Lease, MeasureSpec, Mode
from distillfarm.domain.measurement import (
    Comparison,
    ContextEntry,
    Finding,
    Measurement,
    MemoryReading,
    Outcome,
    Reported,
    ToolRun,
)

LEASE = Lease("job-1", "device-1", "agent-1", 1, 0.0)
WOBBLE = [1_000_000 + 3_000 * number for number in range(12)]
CONTEXT = (ContextEntry("os_build", "build-1"), ContextEntry("runtime_version", "1.30"))
METRICS = ["warm_p50", "warm_p90", "cold", "load", "peak_memory"]


def slower(values: list[int], factor: float) -> list[int]:
    return [round(value * factor) for value in values]


def taken(values: Sequence[int] = WOBBLE) -> Measurement:
    launches = tuple(map(samples.launch, values))
    return replace(samples.measurement(LEASE, launches=launches), context=CONTEXT)


def otherwise(**more: object) -> Measurement:
    return replace(taken(), **more)  # type: ignore[arg-type]


def device(info: DeviceInfo | None = None) -> Device:
    return Device("device-1", "agent-1", info or samples.device_info(), DeviceStatus.IDLE, 0.0)


def of(metric: str, comparisons: tuple[Comparison, ...]) -> Comparison:
    return next(each for each in comparisons if each.metric == metric)


def compared(first: Measurement, second: Measurement) -> tuple[Comparison, ...]:
    return apart((first, device()), (second, device()))


def test_a_rival_is_compared_pair_by_pair_in_everything_that_launches_show() -> None:
    comparisons = in_turn(samples.raced(LEASE, WOBBLE, slower(WOBBLE, 1.05)), Platform.HOST)
    assert [each.metric for each in comparisons] == METRICS
    warm = of("warm_p50", comparisons)
    assert (warm.finding, warm.interleaved, warm.launches) == (Finding.SLOWER, True, 12)
    assert warm.ratio.value == pytest.approx(1.05, rel=1e-4)
    assert warm.minimum_effect == 0.15
    assert verdict(comparisons).startswith("SLOWER, warm p50 +5.0 % [")


def test_the_same_artifact_twice_shows_no_difference() -> None:
    comparisons = in_turn(samples.raced(LEASE, WOBBLE, WOBBLE[::-1]), Platform.HOST)
    assert {each.finding for each in comparisons} == {Finding.NO_DIFFERENCE}
    assert verdict(comparisons) == "no difference shown in warm latency"


def test_a_launch_without_its_partner_is_left_out() -> None:
    comparisons = in_turn(samples.raced(LEASE, WOBBLE, WOBBLE[:-1]), Platform.HOST)
    assert of("warm_p50", comparisons).launches == 11


def test_a_side_without_numbers_shows_nothing() -> None:
    raced = samples.raced(LEASE, WOBBLE, WOBBLE)
    assert raced.rival is not None
    crashed = replace(raced.rival, outcome=Outcome.CRASHED)
    for each in (
        replace(raced, rival=None),
        replace(raced, rival=crashed),
        replace(raced, outcome=Outcome.INCORRECT),
        replace(raced, emulated=True),
        replace(raced, rival=replace(raced.rival, launches=())),
    ):
        assert in_turn(each, Platform.HOST) == ()


def test_memory_of_different_methods_is_not_compared() -> None:
    raced = samples.raced(LEASE, WOBBLE, WOBBLE)
    assert raced.rival is not None
    other = MemoryReading("physFootprint", 1, 1, 1)
    launches = tuple(replace(each, memory=other) for each in raced.rival.launches)
    mixed = replace(raced, rival=replace(raced.rival, launches=launches))
    assert [each.metric for each in in_turn(mixed, Platform.HOST)] == METRICS[:-1]


def test_measured_apart_only_more_than_the_minimum_effect_is_shown() -> None:
    small = compared(taken(), taken(slower(WOBBLE, 1.1)))
    assert of("warm_p50", small).finding is Finding.NO_DIFFERENCE
    large = compared(taken(), taken(slower(WOBBLE, 0.5)))
    warm = of("warm_p50", large)
    assert (warm.finding, warm.interleaved) == (Finding.FASTER, False)
    assert found(warm) == "FASTER"
    assert by_how_much(warm).startswith("-50.0 % [-5")


def test_more_memory_is_more_and_not_slower() -> None:
    bigger = MemoryReading("VmHWM", 1, 1, 90_000_000)
    launches = tuple(replace(each, memory=bigger) for each in taken().launches)
    memory = of("peak_memory", compared(taken(), otherwise(launches=launches)))
    assert found(memory) == "MORE"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"context": (ContextEntry("os_build", "build-2"), CONTEXT[1])}, "system build"),
        ({"context": (CONTEXT[0], ContextEntry("runtime_version", "2"))}, "onnxruntime"),
        ({"spec": MeasureSpec(threads=4, mode=Mode.SUSTAINED)}, "different threads, mode"),
        ({"emulated": True}, "emulated device"),
        ({"outcome": Outcome.CRASHED}, "its outcome is crashed"),
        (
            {"launches": (), "tool_runs": (ToolRun("benchmark_model", (Reported("a", 1, "s"),)),)},
            "figures of benchmark_model",
        ),
    ],
)
def test_what_differs_beside_the_artifact_is_refused_by_name(
    more: dict[str, object], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        compared(taken(), otherwise(**more))


def test_how_many_launches_there_were_hinders_no_comparison() -> None:
    more = otherwise(spec=MeasureSpec(launches=20, max_launches=60, width=0.05, inputs_digest="x"))
    assert len(compared(taken(), more)) == len(METRICS)


def test_another_runtime_may_have_another_version() -> None:
    other = otherwise(
        target=samples.LITERT, context=(CONTEXT[0], ContextEntry("runtime_version", "2.0"))
    )
    assert len(compared(taken(), other)) == len(METRICS)


def test_memory_read_by_different_methods_is_refused() -> None:
    other = MemoryReading("PSS", 1, 1, 1)
    launches = tuple(replace(each, memory=other) for each in taken().launches)
    with pytest.raises(InvalidRequest, match="memory was read by different methods"):
        compared(taken(), otherwise(launches=launches))


def test_another_model_or_chipset_is_refused() -> None:
    for info in (
        samples.device_info(model="Pixel 8"),
        replace(samples.device_info(), chipset=Chipset("Google", "Tensor G3")),
    ):
        with pytest.raises(InvalidRequest, match="one was on Pixel 7"):
            apart((taken(), device()), (taken(), device(info)))
