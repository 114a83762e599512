"""The compatibility matrix: what ran where and how well, each row honestly labelled."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from distillfarm.controller.fates import EMULATED, UNSTABLE
from distillfarm.controller.readings import Pool, evidence, pool_of
from distillfarm.controller.series import SeriesKey, by_series, noted, series_key
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.hardware import Device
from distillfarm.domain.job import Job, JobState
from distillfarm.domain.measurement import Measurement, Outcome
from distillfarm.domain.study import MatrixCell, Study, Trial
from distillfarm.domain.variant import Recipe

TOOL, NOT_MEASURED = "TOOL", "not measured"
"""Labels besides the names of outcomes, EMULATED and UNSTABLE; such a row has no numbers."""


def cells(
    store: Store, study_id: str = "", chipset: str = "", model_name: str = ""
) -> list[MatrixCell]:
    """The rows that the filters let through, an empty one lets everything; blocks.

    A candidate of a study has a row for each chipset, of its final measurements if there are any,
    taken together. A benchmark outside of studies has one for each chipset and target, of the
    newest measurement. Another build of the system or the runtime begins another row of each.

    Raises:
        NotFound: there is no such study.
    """
    studies = [store.study(study_id)] if study_id else store.studies()
    found = [cell for study in studies for cell in _of_study(store, study)]
    if not study_id:
        found += _of_single_jobs(store)
    return [
        cell
        for cell in found
        if chipset.casefold() in ("", cell.chipset.casefold())
        and model_name in ("", cell.model_name)
    ]


def _of_study(store: Store, study: Study) -> Iterator[MatrixCell]:
    chosen: dict[tuple[str, str], Trial] = {}
    for trial in store.trials(study.study_id):
        key = trial.chipset, str(trial.candidate)
        if key not in chosen or trial.final or not chosen[key].final:
            chosen[key] = trial
    for trial in chosen.values():
        yield from _of_trial(store, study, trial)


def _of_trial(store: Store, study: Study, trial: Trial) -> Iterator[MatrixCell]:
    cell = MatrixCell(
        study_id=study.study_id,
        model_name=study.spec.model.artifact.name,
        recipe=str(trial.candidate.recipe),
        target=trial.candidate.target,
        chipset=trial.chipset,
        device_model="",
        os_build="",
        label=NOT_MEASURED,
        reason=trial.skipped or trial.outcome_reason,
        measured_at_s=0.0,
        size_bytes=trial.exported.artifact.size_bytes if trial.exported else 0,
    )
    if trial.refusal is not None:
        yield replace(cell, reason=str(trial.refusal))
        return
    if trial.outcome is None or not trial.measurement_ids:
        yield cell
        return
    for series in by_series(map(store.measurement, trial.measurement_ids)):
        labelled = _labelled(store, cell, series)
        if labelled.label == Outcome.OK.name:
            shown = evidence(trial, pool_of(store, series))
            labelled = replace(labelled, score=shown.score if shown else trial.score)
        yield labelled


def _of_single_jobs(store: Store) -> list[MatrixCell]:
    newest: dict[tuple[SeriesKey, str], MatrixCell] = {}
    for job in store.jobs([JobState.DONE]):
        if not job.request.study_id and job.request.artifact.name:
            measurement = store.measurement(job.measurement_id)
            cell = _of_job(store, job, measurement)
            newest[series_key(measurement), cell.chipset] = cell
    return list(newest.values())


def _of_job(store: Store, job: Job, measurement: Measurement) -> MatrixCell:
    device = store.device(job.device_id)
    cell = MatrixCell(
        study_id="",
        model_name=job.request.artifact.name,
        recipe=str(Recipe()),
        target=job.request.target,
        chipset=str(device.info.chipset),
        device_model="",
        os_build="",
        label=NOT_MEASURED,
        reason="",
        measured_at_s=0.0,
        size_bytes=job.request.artifact.size_bytes,
    )
    return _labelled(store, cell, (measurement,))


def _labelled(store: Store, cell: MatrixCell, series: Sequence[Measurement]) -> MatrixCell:
    measurement = series[-1]
    device = store.device(measurement.device_id)
    label, reason = _label(store, series)
    return replace(
        cell,
        device_model=device.info.model,
        os_build=_os_build(measurement, device),
        label=label,
        reason=reason,
        measured_at_s=measurement.started_at_s,
        measurement_id=measurement.measurement_id,
    )


def _label(store: Store, series: Sequence[Measurement]) -> tuple[str, str]:
    """How the row is to be read, and why."""
    measurement = series[-1]
    if measurement.emulated:
        there = (
            f" ({measurement.outcome.value}: {measurement.reason})" if measurement.reason else ""
        )
        return EMULATED, f"an emulated device, which says nothing of a real one{there}"
    if measurement.outcome is not Outcome.OK:
        return measurement.outcome.name, measurement.reason
    if measurement.tool_runs:
        tool = measurement.tool_runs[0].tool
        return TOOL, f"measured by {tool}, whose figures are its own and compare with no others"
    pool = pool_of(store, series)
    if pool is None:
        return NOT_MEASURED, "no samples were taken"
    if not pool.summary.stable:
        return UNSTABLE, pool.summary.instability
    return Outcome.OK.name, _pooled(pool)


def _pooled(pool: Pool) -> str:
    """Over what a row speaks where that is more than one measurement."""
    count = len(pool.measurements)
    if count == 1:
        return ""
    devices = len({each.device_id for each in pool.measurements})
    where = f" on {devices} devices" if devices > 1 else ""
    return f"{len(pool.launches)} launches of {count} measurements{where}"


def _os_build(measurement: Measurement, device: Device) -> str:
    # The device may have been updated since; what was noted at the time goes first.
    return noted(measurement, "os_build") or device.info.os_build
