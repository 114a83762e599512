"""Everything that a study's report and bundle are made of, read from the store once."""

from dataclasses import dataclass, replace

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

    def all_of(self, trial: Trial) -> tuple[Measured, ...]:
        """The measurements of a trial, in the order in which they were taken."""
        return tuple(each for each in self.measured if each.trial_id == trial.trial_id)

    def of(self, trial: Trial) -> Measured | None:
        """The last of them, if there is one."""
        return next(reversed(self.all_of(trial)), None)

    def by_device(self, trial: Trial) -> tuple[Measured, ...]:
        """What launches of a trial there are on each device, as if they were of one measurement.

        Everything but the launches is that of the device's last.
        """
        able = [each for each in self.all_of(trial) if each.summary is not None]
        together: dict[str, Measured] = {}
        for each in able:
            before = together.get(each.device.device_id)
            earlier = before.measurement.launches if before else ()
            launches = (*earlier, *each.measurement.launches)
            measurement = replace(each.measurement, launches=launches)
            together[each.device.device_id] = replace(each, measurement=measurement)
        return tuple(together.values())

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
