"""Measurements with their summaries, judged by the kind of device that they come from."""

from distillfarm.controller.store.protocol import Store
from distillfarm.domain.measurement import Measurement, Outcome, Summary
from distillfarm.statistics.summary import summarise


def reading(store: Store, measurement_id: str) -> tuple[Measurement, Summary | None]:
    """A measurement, and its summary if the model ran; blocks.

    Raises:
        NotFound: there is no such measurement.
    """
    measurement = store.measurement(measurement_id)
    return measurement, summary_of(store, measurement)


def summary_of(store: Store, measurement: Measurement) -> Summary | None:
    """The summary of a measurement, or None where there are no numbers to compare; blocks.

    There are none when the outcome is not OK, when a maker's tool gave its own figures in place of
    launches, and when the device was emulated, whose times nobody is to take for a phone's.
    """
    sampled = measurement.launches and all(each.samples_ns for each in measurement.launches)
    if measurement.outcome is not Outcome.OK or measurement.emulated or not sampled:
        return None
    return summarise(measurement, store.device(measurement.device_id).info.platform)
