"""Measurements with what they say, judged by the kind of device that they come from."""

from collections.abc import Iterable
from dataclasses import dataclass

from distillfarm.controller.comparing import apart, in_turn
from distillfarm.controller.evidence import Evidence
from distillfarm.controller.scoring import score
from distillfarm.controller.series import by_series, has_numbers
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.hardware import Platform
from distillfarm.domain.measurement import Comparison, Energy, Launch, Measurement, Outcome, Summary
from distillfarm.domain.study import Trial
from distillfarm.statistics.summary import LaunchValues, launch_values, summarise_launches


@dataclass(frozen=True)
class Reading:
    """A measurement with what it says.

    ``summary`` is None where it has no numbers, see ``series.has_numbers``. ``comparisons`` are its
    rival against its own artifact, and ``rival_summary`` the rival's numbers, where there is one.
    """

    measurement: Measurement
    summary: Summary | None
    comparisons: tuple[Comparison, ...] = ()
    rival_summary: Summary | None = None


@dataclass(frozen=True)
class Pool:
    """Measurements of one series, the oldest first; each of them has numbers."""

    measurements: tuple[Measurement, ...]
    platform: Platform

    @property
    def launches(self) -> tuple[Launch, ...]:
        """All launches, in the order of their measurements."""
        return tuple(launch for each in self.measurements for launch in each.launches)

    @property
    def values(self) -> LaunchValues:
        """What each launch showed."""
        return launch_values(self.launches)

    @property
    def summary(self) -> Summary:
        """What all launches say in few numbers."""
        newest = self.measurements[-1]
        return summarise_launches(
            self.launches, newest.target, self.platform, mode=newest.spec.mode
        )

    @property
    def energy(self) -> Energy:
        """Of the newest measurement in which energy was measured, else why it was not."""
        measured = [each.energy for each in self.measurements if each.energy.method]
        return measured[-1] if measured else self.measurements[-1].energy


def reading(store: Store, measurement_id: str) -> Reading:
    """A measurement with what it says; blocks.

    Raises:
        NotFound: there is no such measurement.
    """
    measurement = store.measurement(measurement_id)
    platform = store.device(measurement.device_id).info.platform
    return Reading(
        measurement,
        summary_of(store, measurement),
        in_turn(measurement, platform),
        _rival_summary(measurement, platform),
    )


def compare(store: Store, first_id: str, second_id: str) -> tuple[Comparison, ...]:
    """The second of two measurements that were taken apart, against the first; blocks.

    Raises:
        NotFound: there is no such measurement.
        InvalidRequest: they cannot be compared; the text says in what they differ.
    """
    first, second = store.measurement(first_id), store.measurement(second_id)
    return apart((first, store.device(first.device_id)), (second, store.device(second.device_id)))


def summary_of(store: Store, measurement: Measurement) -> Summary | None:
    """The summary of a measurement, or None where it has no numbers; blocks."""
    pool = pool_of(store, [measurement])
    return pool.summary if pool else None


def pool_of(store: Store, measurements: Iterable[Measurement]) -> Pool | None:
    """Those of the newest series that have numbers; None where none has any. Blocks."""
    series = by_series(filter(has_numbers, measurements))
    if not series:
        return None
    newest = series[-1][-1]
    return Pool(series[-1], store.device(newest.device_id).info.platform)


def evidence_of(store: Store, trial: Trial) -> Evidence | None:
    """What a trial's launches show, those of all its devices together; blocks."""
    return evidence(trial, pool_of(store, map(store.measurement, trial.measurement_ids)))


def evidence_by_device(store: Store, trial: Trial) -> dict[str, Evidence]:
    """What a trial's launches show on each device alone, by their ids; blocks."""
    measured = [store.measurement(each) for each in trial.measurement_ids]
    found: dict[str, Evidence] = {}
    for device_id in dict.fromkeys(each.device_id for each in measured):
        here = (each for each in measured if each.device_id == device_id)
        shown = evidence(trial, pool_of(store, here))
        if shown is not None:
            found[device_id] = shown
    return found


def evidence(trial: Trial, pool: Pool | None) -> Evidence | None:
    """What a pool of a trial's measurements shows; None without one, and of what was not built."""
    if pool is None or trial.exported is None:
        return None
    return Evidence(score(trial.exported, pool.summary, pool.energy), pool.values)


def _rival_summary(measurement: Measurement, platform: Platform) -> Summary | None:
    rival = measurement.rival
    if rival is None or measurement.emulated or rival.outcome is not Outcome.OK:
        return None
    able = rival.launches and all(each.samples_ns for each in rival.launches)
    mode = measurement.spec.mode
    return summarise_launches(rival.launches, rival.target, platform, mode=mode) if able else None
