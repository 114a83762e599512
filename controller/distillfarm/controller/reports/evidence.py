"""Everything that a study's report and bundle are made of, read from the store once."""

from dataclasses import dataclass

from distillfarm.controller.readings import summary_of
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.hardware import Device
from distillfarm.domain.measurement import Measurement, Summary
from distillfarm.domain.study import Study, Trial


@dataclass(frozen=True)
class Measured:
    """A trial's measurement with the device it was taken on.

    ``summary`` is None where there are no numbers, see ``readings.summary_of``.
    """

    trial_id: str
    measurement: Measurement
    device: Device
    summary: Summary | None


@dataclass(frozen=True)
class Evidence:
    """A study, its trials in order, and what was measured for them."""

    study: Study
    trials: tuple[Trial, ...]
    measured: tuple[Measured, ...]

    def of(self, trial: Trial) -> Measured | None:
        """The measurement that a trial's score rests on: its last, if there is one."""
        return next(
            (each for each in reversed(self.measured) if each.trial_id == trial.trial_id), None
        )

    def trial(self, trial_id: str) -> Trial | None:
        """A trial by its id, if there is one."""
        return next((each for each in self.trials if each.trial_id == trial_id), None)


def gather(study: Study, store: Store) -> Evidence:
    """Read a study's trials and measurements; ``study`` is taken as given, not read again."""
    trials = tuple(store.trials(study.study_id))
    measured = []
    for trial in trials:
        for measurement_id in trial.measurement_ids:
            measurement = store.measurement(measurement_id)
            device = store.device(measurement.device_id)
            summary = summary_of(store, measurement)
            measured.append(Measured(trial.trial_id, measurement, device, summary))
    return Evidence(study, trials, tuple(measured))
