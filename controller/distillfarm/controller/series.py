"""Which measurements say something together, and which say nothing in numbers at all; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from distillfarm.domain.hardware import Target
from distillfarm.domain.measurement import Measurement, Outcome


@dataclass(frozen=True)
class SeriesKey:
    """What launches must share to say something together.

    A new build of the system, of the firmware below it or of the runtime may change every figure:
    it begins a new series.
    """

    artifact_digest: str
    target: Target
    os_build: str
    firmware: str
    runtime_version: str


def has_numbers(measurement: Measurement) -> bool:
    """Whether there is something to compare.

    There is not when the outcome is not OK, when a maker's tool gave its own figures in place of
    launches, and when the device was emulated, whose times nobody is to take for a phone's.
    """
    ran = measurement.outcome is Outcome.OK and not measurement.emulated
    return (
        ran and bool(measurement.launches) and all(each.samples_ns for each in measurement.launches)
    )


def series_key(measurement: Measurement) -> SeriesKey:
    """The series that a measurement belongs to."""
    return SeriesKey(
        measurement.artifact_digest,
        measurement.target,
        noted(measurement, "os_build"),
        noted(measurement, "firmware"),
        noted(measurement, "runtime_version"),
    )


def noted(measurement: Measurement, fact: str) -> str:
    """A fact of a measurement's context, empty where it was not noted."""
    return next((each.value for each in measurement.context if each.name == fact), "")


def by_series(measurements: Iterable[Measurement]) -> list[tuple[Measurement, ...]]:
    """Measurements by their series, the one with the newest last, the oldest first in each."""
    found: dict[SeriesKey, list[Measurement]] = {}
    for each in sorted(measurements, key=lambda each: each.started_at_s):
        found.setdefault(series_key(each), []).append(each)
    return sorted(map(tuple, found.values()), key=lambda series: series[-1].started_at_s)
