"""The compatibility matrix: what ran where and how well, each row honestly labelled."""

from collections.abc import Iterator
from dataclasses import replace

from distillfarm.controller.fates import EMULATED, UNSTABLE
from distillfarm.controller.readings import summary_of
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

    A candidate of a study has one row for each chipset, of its final measurement if there is one.
    A benchmark outside of studies has one for each chipset and target, of the newest measurement.

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
        yield _of_trial(store, study, trial)


def _of_trial(store: Store, study: Study, trial: Trial) -> MatrixCell:
    cell = MatrixCell(
        study_id=study.study_id,
        model_name=study.spec.model.artifact.name,
        recipe=str(trial.candidate.recipe),
        target=trial.candidate.target,
        chipset=trial.chipset,
        device_model="",
        os_build="",
        label=NOT_MEASURED,
        reason=trial.outcome_reason,
        measured_at_s=0.0,
        size_bytes=trial.exported.artifact.size_bytes if trial.exported else 0,
    )
    if trial.refusal is not None:
        return replace(cell, reason=str(trial.refusal))
    if trial.outcome is None or not trial.measurement_ids:
        return cell
    labelled = _labelled(store, cell, store.measurement(trial.measurement_ids[-1]))
    return replace(labelled, score=trial.score) if labelled.label == Outcome.OK.name else labelled


def _of_single_jobs(store: Store) -> list[MatrixCell]:
    newest: dict[tuple[str, str, str], MatrixCell] = {}
    for job in store.jobs([JobState.DONE]):
        if not job.request.study_id and job.request.artifact.name:
            cell = _of_job(store, job)
            newest[job.request.artifact.digest, str(cell.target), cell.chipset] = cell
    return list(newest.values())


def _of_job(store: Store, job: Job) -> MatrixCell:
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
    return _labelled(store, cell, store.measurement(job.measurement_id))


def _labelled(store: Store, cell: MatrixCell, measurement: Measurement) -> MatrixCell:
    device = store.device(measurement.device_id)
    label, reason = _label(store, measurement)
    return replace(
        cell,
        device_model=device.info.model,
        os_build=_os_build(measurement, device),
        label=label,
        reason=reason,
        measured_at_s=measurement.started_at_s,
        measurement_id=measurement.measurement_id,
    )


def _label(store: Store, measurement: Measurement) -> tuple[str, str]:
    """How the row is to be read, and why."""
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
    summary = summary_of(store, measurement)
    if summary is None:
        return NOT_MEASURED, "no samples were taken"
    if not summary.stable:
        return UNSTABLE, f"launches differ by {summary.launch_cv:.0%} (coefficient of variation)"
    return Outcome.OK.name, ""


def _os_build(measurement: Measurement, device: Device) -> str:
    # The device may have been updated since; what was noted at the time goes first.
    noted = (entry.value for entry in measurement.context if entry.name == "os_build")
    return next(noted, device.info.os_build)
