"""Says which of two artifacts is faster on a device, in every quantity that launches show; pure.

Launched in turn in one job, both sides share what befalls the device, and their launches are
compared pair by pair. Measured apart, only more than the device class' minimum effect is told from
noise, and only where everything but the artifact was the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

from distillfarm.controller.series import has_numbers, noted
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Device, DeviceInfo, Platform
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Comparison, Launch, Measurement, Outcome
from distillfarm.domain.study import Metric
from distillfarm.statistics.classes import device_class
from distillfarm.statistics.comparison import compare_pairs, compare_separate
from distillfarm.statistics.summary import LaunchValues, launch_values

LOAD = "load"
"""Loading and compiling the model: a quantity that no SLA bounds, and so no ``Metric``."""

QUANTITIES: tuple[tuple[str, Callable[[LaunchValues], Sequence[float]]], ...] = (
    (Metric.WARM_P50.value, lambda values: values.warm_p50_ms),
    (Metric.WARM_P90.value, lambda values: values.warm_p90_ms),
    (Metric.COLD.value, lambda values: values.cold_ms),
    (LOAD, lambda values: values.load_ms),
    (Metric.PEAK_MEMORY.value, lambda values: values.peak_memory_bytes),
)
"""What is compared, by name: milliseconds, and bytes."""

# How many launches there were says nothing of a launch, and other artifacts take other arrays.
_DECIDES_NO_LAUNCH = {
    "launches", "max_launches", "width", "budget_s", "launch_timeout_s",
    "inputs_digest", "expected_digest", "tolerance",
}  # fmt: skip


def in_turn(measurement: Measurement, platform: Platform) -> tuple[Comparison, ...]:
    """The rival of a measurement against its own artifact, launch by launch.

    Empty without a rival, and where either side has no numbers.
    """
    rival = measurement.rival
    if rival is None or not has_numbers(measurement) or rival.outcome is not Outcome.OK:
        return ()
    pairs = [
        (own, other)
        for own, other in zip(measurement.launches, rival.launches, strict=False)
        if own.samples_ns and other.samples_ns
    ]
    if not pairs:
        return ()
    first, second = (launch_values(side) for side in zip(*pairs, strict=True))
    effect = max(
        device_class(platform, target).minimum_effect
        for target in (measurement.target, rival.target)
    )
    return tuple(
        replace(compare_pairs(name, read(first), read(second)), minimum_effect=effect)
        for name, read in _quantities(*pairs[0])
    )


def apart(
    first: tuple[Measurement, Device], second: tuple[Measurement, Device]
) -> tuple[Comparison, ...]:
    """The second of two measurements against the first.

    Raises:
        InvalidRequest: they cannot be compared; the text says in what they differ.
    """
    (one, one_device), (other, other_device) = first, second
    elsewhere = _elsewhere(one_device.info, other_device.info)
    if hindrance := next(_hindrances(one, other), elsewhere):
        raise InvalidRequest(
            f"{one.measurement_id} and {other.measurement_id} cannot be compared: {hindrance};"
            " measure both in turn: distillfarm compare FILE FILE"
        )
    values = launch_values(one.launches), launch_values(other.launches)
    effect = max(
        device_class(one_device.info.platform, each.target).minimum_effect for each in (one, other)
    )
    return tuple(
        compare_separate(name, read(values[0]), read(values[1]), effect)
        for name, read in QUANTITIES
    )


def _quantities(
    own: Launch, other: Launch
) -> list[tuple[str, Callable[[LaunchValues], Sequence[float]]]]:
    same_memory = own.memory.peak_method == other.memory.peak_method
    return [each for each in QUANTITIES if same_memory or each[0] != Metric.PEAK_MEMORY.value]


def _hindrances(one: Measurement, other: Measurement) -> Iterator[str]:
    for each in (one, other):
        if each.emulated:
            yield f"{each.measurement_id} is of an emulated device, which says nothing"
        elif each.tool_runs:
            yield f"{each.measurement_id} has the figures of {each.tool_runs[0].tool} itself"
        elif not has_numbers(each):
            yield f"{each.measurement_id} has no numbers, its outcome is {each.outcome.value}"
    if ways := _different_ways(one.spec, other.spec):
        yield f"they were measured with different {', '.join(ways)}"
    facts = {"os_build": "system build", "firmware": "firmware"}
    if one.target.runtime is other.target.runtime:
        facts["runtime_version"] = f"version of {one.target.runtime.value}"
    for fact, name in facts.items():
        before, after = noted(one, fact) or "not noted", noted(other, fact) or "not noted"
        if before != after:
            yield f"the {name} of one was {before}, of the other {after}"
    methods = [{launch.memory.peak_method for launch in each.launches} for each in (one, other)]
    if methods[0] != methods[1]:
        yield "their memory was read by different methods"


def _different_ways(one: MeasureSpec, other: MeasureSpec) -> list[str]:
    """In what of all that decides a launch two specs differ."""
    names = (field.name for field in fields(MeasureSpec) if field.name not in _DECIDES_NO_LAUNCH)
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _elsewhere(one: DeviceInfo, other: DeviceInfo) -> str:
    if (one.model, one.chipset) == (other.model, other.chipset):
        return ""
    return f"one was on {one.model} ({one.chipset}), the other on {other.model} ({other.chipset})"
