"""What a result means for its job, its device and its model; blocks, for the store's thread."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from distillfarm.controller.memory import News
from distillfarm.controller.scheduling.conduct import (
    Felling,
    Forbearance,
    condemned,
    misconduct,
    others_work,
)
from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.agent import JobResult
from distillfarm.domain.errors import Blame, FarmError, LeaseLost, NotFound
from distillfarm.domain.hardware import Device, DeviceStatus
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import Job, JobRequest, JobState
from distillfarm.domain.measurement import Energy, Measurement, Outcome
from distillfarm.profiles.support import refusal

_log = structlog.get_logger(__name__)


class Settlement:
    """Takes requests and results, and draws the consequences, which are all in the store."""

    def __init__(
        self, store: Store, settings: ControllerSettings, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._attempts = settings.max_attempts
        self._forbearance = Forbearance(settings.max_phone_failures, settings.max_harness_failures)
        self._fellings = settings.max_fellings
        self._now = now

    def submit(self, request: JobRequest) -> Job:
        """Queue a job; one of a model that took down too many devices has its answer at once."""
        job = self._store.submit(request, self._now())
        return self.answer([job])[0]

    def answer(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs, those DONE that waited for a device in vain since their model is stopped."""
        return [self._answered(job) if job.state is JobState.QUEUED else job for job in jobs]

    def settle(self, agent_id: str, result: JobResult) -> News:
        """Take an agent's result; one that does not count changes nothing."""
        lease = result.lease
        try:
            device = self._store.device(lease.device_id)
            if device.agent_id != agent_id:
                raise LeaseLost(f"{lease.device_id} is not {agent_id}'s")
            if result.felled and result.error:
                return self._felled(result)
            if result.measurement is not None and device.info.emulated:
                # Not the agent's to decide: an emulator's times must never pass for a phone's.
                result = replace(result, measurement=replace(result.measurement, emulated=True))
            job = self._finish(result)
        except (LeaseLost, NotFound) as error:
            # Acknowledged all the same: the agent would otherwise send it for ever.
            _log.info("a result does not count", job=lease.job_id, reason=str(error))
            return News()
        return News((job,), (self._judged(lease.device_id, result),))

    def _finish(self, result: JobResult) -> Job:
        try:
            return self._store.finish(result, self._now(), self._attempts)
        except (LeaseLost, NotFound):
            raise
        except FarmError as error:
            unusable = JobResult(result.lease, error=f"the agent's result is unusable: {error}")
            return self._store.finish(unusable, self._now(), self._attempts)

    def _judged(self, device_id: str, result: JobResult) -> Device:
        """The device after a result, quarantined if that was once too often."""
        store = self._store
        device = store.device(device_id)
        if not result.error:
            return device
        others = [
            each
            for each in store.devices()
            if each.agent_id == device.agent_id
            and each.device_id != device_id
            and each.status is not DeviceStatus.OFFLINE
        ]
        newest = (next(iter(store.endings(each.device_id, 1)), None) for each in others)
        endings = store.endings(device_id, self._forbearance.enough)
        reason = misconduct(endings, others_work(newest), self._forbearance)
        if not reason:
            return device
        _log.warning("device quarantined", device=device_id, reason=reason)
        return store.set_quarantined(device_id, quarantined=True, reason=reason, keep=True)

    def _felled(self, result: JobResult) -> News:
        """A device went down: note it, and end the job and its like if that was once too often."""
        store, lease = self._store, result.lease
        store.add_felling(lease, self._now())
        job = store.job(lease.job_id)
        held = self._held_against(job)
        if held:
            measured = self._stopped(job, held)
            stopped = JobResult(lease, measured, blame=Blame.MODEL, felled=True)
            alike = (each for each in store.jobs([JobState.QUEUED]) if _alike(each, job))
            jobs = (self._finish(stopped), *self.answer(alike))
        else:
            # Whatever the agent thinks of it: whether it was the model is found out elsewhere.
            tried = replace(result, retryable=True, blame=Blame.MODEL)
            jobs = (self._finish(tried),)
        return News(jobs, (store.device(lease.device_id),))

    def _answered(self, job: Job) -> Job:
        held = self._held_against(job)
        return self._store.answer(job.job_id, self._stopped(job, held)) if held else job

    def _held_against(self, job: Job) -> tuple[Felling, ...]:
        """The fellings for which a job is not to be run."""
        request = job.request
        target = str(request.target)
        fellings = [
            each for each in self._store.fellings(request.artifact.digest) if each.target == target
        ]
        if len(fellings) < self._fellings:
            return ()
        able = [
            each
            for each in self._store.devices(request.selector)
            if refusal(each.info, request.target) is None
        ]
        return condemned(fellings, able, self._fellings)

    def _stopped(self, job: Job, held: Sequence[Felling]) -> Measurement:
        """The outcome of a job that is not run, or not again, for what its model did."""
        request, last = job.request, held[-1]
        return Measurement(
            derived_id("measurement", "stopped", job.job_id),
            job.job_id,
            last.device_id,
            request.artifact.digest,
            request.target,
            request.spec,
            Outcome.CRASHED,
            _told(held, request.artifact.digest),
            (),
            Energy(reason="the model was not run"),
            (),
            self._now(),
            0.0,
            emulated=last.emulated,
        )


def _alike(job: Job, other: Job) -> bool:
    ours, theirs = job.request, other.request
    return (ours.artifact.digest, ours.target) == (theirs.artifact.digest, theirs.target)


def _told(held: Sequence[Felling], digest: str) -> str:
    different = len({each.device_id for each in held})
    kind = "emulated device" if held[-1].emulated else "device"
    often = "" if different == len(held) else f" {len(held)} times"
    named = ", ".join(f"{each.serial} at {_moment(each.at_s)}" for each in held)
    return (
        f"took down {different} {kind}{'s' if different > 1 else ''}{often}: {named}; not sent to "
        f"another. To allow it again: distillfarm devices forgive {digest}"
    )


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
