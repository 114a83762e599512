"""Decides who is served next, and who waits in vain."""

import heapq
from collections import Counter
from dataclasses import dataclass

from distillfarm.controller.scheduling.state import FarmState, Line, Place
from distillfarm.domain.hardware import Device
from distillfarm.domain.job import Job

_NAMED_DEVICES = 3


@dataclass(frozen=True)
class Assignment:
    """Lease this device to this job."""

    job_id: str
    device_id: str


@dataclass(frozen=True)
class GiveUp:
    """Fail this job: waiting longer cannot help."""

    job_id: str
    error: str


Key = tuple[int, int, float, int]


def assign(state: FarmState, max_attempts: int) -> list[Assignment | GiveUp]:
    """Give idle devices to waiting jobs; both are taken out of ``state``.

    Larger priority goes first; among equals the study with the fewest running jobs, so that a
    small study is not stuck behind a large one; then the oldest job. A job goes where it has not
    failed yet, as long as there is such a device. One whose leases were lost ``max_attempts`` times
    is given up, for it may be what ends its agents.
    """
    decisions: list[Assignment | GiveUp] = []
    ready: list[tuple[Key, int, Line, str]] = []

    def enter(order: int, line: Line, study_id: str) -> None:
        place = state.head(line, study_id)
        if place is not None and line.next_device:
            key = _key(place, state.running_by_study[study_id])
            heapq.heappush(ready, (key, order, line, study_id))

    queues = [(line, study) for line in state.lines.values() for study in list(line.queues)]
    for order, (line, study_id) in enumerate(queues):
        enter(order, line, study_id)
    while ready:
        key, order, line, study_id = heapq.heappop(ready)
        place = state.head(line, study_id)
        device_id = line.next_device
        if place is None or device_id is None:
            continue
        if _key(place, state.running_by_study[study_id]) == key:
            decisions.append(_serve(state, place, device_id, max_attempts))
        enter(order, line, study_id)
    return decisions


def give_up(state: FarmState, now_s: float, patience_s: float) -> list[GiveUp]:
    """Give up jobs that every device refuses, and those without a device for too long."""
    decisions: list[GiveUp] = []
    for line in state.lines.values():
        if not line.waiting:
            continue
        if line.hopeless:
            reason = _refusals(state, line)
            decisions += [GiveUp(job.job_id, reason) for job in state.jobs_in(line)]
        elif line.unserved_since_s is not None and line.unserved_since_s + patience_s <= now_s:
            reason = f"{waiting_text(state, line)}; waited {patience_s:g} s"
            decisions += [
                GiveUp(job.job_id, reason)
                for job in state.jobs_in(line)
                if job.submitted_at_s + patience_s <= now_s
            ]
    for decision in decisions:
        state.forget_job(decision.job_id)
    return decisions


def progress_text(state: FarmState, job: Job) -> str:
    """What a waiting job waits for."""
    line = state.line_of(job)
    return waiting_text(state, line) if line else ""


def waiting_text(state: FarmState, line: Line) -> str:
    """What the jobs of a line wait for, for people."""
    if not line.refusals:
        return f"no device matches {line.need.selector!r} yet"
    statuses = Counter(state.devices[device_id].status.value for device_id in line.willing)
    found = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    text = f"waiting for a device that can run {line.need.target}: {found}"
    failed_on = [state.devices[each] for each in line.need.failed_on if each in line.willing]
    if not failed_on:
        return text
    named = ", ".join(sorted(each.info.serial for each in failed_on))
    return f"{text}; it failed on {named} and is tried elsewhere first"


def _key(place: Place, running: int) -> Key:
    return place.negative_priority, running, place.submitted_at_s, place.arrival


def _serve(
    state: FarmState, place: Place, device_id: str, max_attempts: int
) -> Assignment | GiveUp:
    job = state.waiting[place.job_id]
    if job.attempts >= max_attempts:
        state.forget_job(job.job_id)
        return GiveUp(
            job.job_id,
            f"its lease was lost {job.attempts} times; see the logs of the agents that ran it",
        )
    state.start_job(job)
    state.take_device(device_id)
    return Assignment(job.job_id, device_id)


def _refusals(state: FarmState, line: Line) -> str:
    named = [
        f"{_name(state.devices[device_id])}: {reason}"
        for device_id, reason in sorted(line.refusals.items())[:_NAMED_DEVICES]
    ]
    more = len(line.refusals) - len(named)
    ending = f"; and {more} more" if more else ""
    return f"no device of {line.need.selector!r} can run {line.need.target}: " + (
        "; ".join(named) + ending
    )


def _name(device: Device) -> str:
    return f"{device.info.serial} ({device.info.model})"
