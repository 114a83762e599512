"""The farm in motion: agents join and leave, jobs come in, results are taken."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from distillfarm.controller.assigning import Assigner
from distillfarm.controller.changes import Changes, wait
from distillfarm.controller.health import Vitals, new_trouble
from distillfarm.controller.memory import Memory, News
from distillfarm.controller.metrics import FarmMetrics
from distillfarm.controller.naming import check_labels, check_name, check_reason, meant
from distillfarm.controller.requests import check_digest
from distillfarm.controller.sessions import Session
from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.settling import Settlement
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.agent import (
    Abandon,
    Ack,
    HealthReport,
    Heartbeat,
    Hello,
    Inventory,
    JobProgress,
    JobResult,
    Welcome,
)
from distillfarm.domain.errors import (
    InvalidRequest,
    Unavailable,
    WrongState,
)
from distillfarm.domain.hardware import Device, DeviceHealth, matches
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import Job, JobRequest, JobState
from distillfarm.wire.session import FromAgent

_LOOK_AGAIN_S = 5.0
_THROTTLE_S = 0.05

_log = structlog.get_logger(__name__)


class Fleet:
    """What services and dispatchers ask; belongs to the event loop in which it was made."""

    def __init__(
        self,
        store: Store,
        settings: ControllerSettings,
        metrics: FarmMetrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._memory = Memory(store, metrics, now)
        self._assigner = Assigner(self._memory, settings)
        self._settlement = Settlement(store, settings, now)

    @property
    def changes(self) -> Changes:
        """Where news of jobs, by their id, can be heard."""
        return self._memory.changes

    @property
    def vitals(self) -> Vitals:
        """How the devices fare."""
        return self._memory.vitals

    async def start(self) -> None:
        """Learn what an earlier controller left behind, and begin to assign."""
        memory = self._memory

        def remembered() -> News:
            for agent_id in {device.agent_id for device in memory.store.devices()}:
                memory.store.agent_gone(agent_id, memory.now())
            self._settlement.answer(memory.store.jobs([JobState.QUEUED]))
            return memory.everything()

        await memory.change(remembered, memory.learn)
        memory.metrics.watch(memory.state, memory.vitals)
        self._assigner.start()

    def hang_up(self) -> None:
        """End every session, for agents to connect again later; their jobs go on."""
        for session in list(self._memory.sessions.values()):
            session.close(Unavailable("the controller is stopping; connect again soon"))

    async def close(self) -> None:
        """Stop assigning, and wait for what is being written."""
        await self._assigner.stop()
        await self._memory.close()

    # Jobs

    async def submit(self, request: JobRequest) -> Job:
        """Queue a job; safe to repeat."""
        memory = self._memory
        return await memory.change(lambda: self._settlement.submit(request), memory.learn_job)

    async def job(self, job_id: str) -> Job:
        """A job with its progress."""
        known = self._memory.unfinished(job_id)
        if known is not None:
            return known
        return await asyncio.to_thread(self._memory.store.job, job_id)

    async def cancel_job(self, job_id: str) -> Job:
        """Cancel a job and tell its agent to stop."""
        memory = self._memory

        def cancel() -> News:
            job = memory.store.cancel_job(job_id, memory.now())
            return memory.job_and_device(job, job.device_id)

        def stop(news: News) -> None:
            lease = memory.live.get(job_id)
            memory.learn(news)
            if lease is not None and not memory.holds(lease):
                memory.abandon(lease, "the job was cancelled")

        return (await memory.change(cancel, stop)).jobs[0]

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job now and after every change, until it is final."""
        last = None
        with self.changes.listen([job_id]) as changed:
            while True:
                job = await self.job(job_id)
                if job != last:
                    yield job
                    last = job
                if job.state.final:
                    return
                # Progress may come faster than anybody can read.
                await asyncio.sleep(_THROTTLE_S)
                await wait(changed, _LOOK_AGAIN_S)

    async def news(self, jobs: Sequence[Job], timeout_s: float) -> list[Job]:
        """The same jobs as they are now; waits up to ``timeout_s`` for one to differ."""
        with self.changes.listen(job.job_id for job in jobs) as changed:
            fresh = await self._again(jobs)
            if fresh == list(jobs):
                await wait(changed, timeout_s)
                fresh = await self._again(jobs)
        return fresh

    async def _again(self, jobs: Sequence[Job]) -> list[Job]:
        return [job if job.state.final else await self.job(job.job_id) for job in jobs]

    # Devices

    def devices(self, selector: str = "*") -> list[Device]:
        """The devices that a selector means, in order of id."""
        known = self._memory.state.devices
        found = [known[device_id] for device_id in sorted(known)]
        return [self._seen(device) for device in found if matches(device, selector)]

    def device(self, device_id: str) -> Device:
        """One device by its id, name or serial, as every method below takes it.

        Raises:
            NotFound: there is none.
            InvalidRequest: there are several.
        """
        return self._seen(meant(self._memory.state.devices, device_id))

    async def drain(self, device_id: str, drained: bool, note: str = "") -> Device:
        """Drain or undrain a device; what runs there is finished."""
        return await self._care(device_id, lambda store, i: store.set_drained(i, drained, note))

    async def quarantine(self, device_id: str, reason: str) -> Device:
        """Hold a device for unfit until it is released; what runs there is finished."""
        check_reason(reason)
        return await self._care(device_id, lambda store, i: store.set_quarantined(i, True, reason))

    async def release(self, device_id: str) -> Device:
        """End a quarantine; a drained device stays drained."""
        return await self._care(device_id, lambda store, i: store.set_quarantined(i, False))

    async def name(self, device_id: str, name: str) -> Device:
        """Give a device a name that no other has; an empty one takes it away."""
        check_name(name)
        return await self._care(device_id, lambda store, i: store.set_name(i, name))

    async def label(self, device_id: str, labels: Sequence[str]) -> Device:
        """Replace a device's labels."""
        check_labels(labels)
        return await self._care(device_id, lambda store, i: store.set_labels(i, labels))

    async def forgive(self, artifact_digest: str) -> int:
        """Let a model that took devices down be run again; gives how many that were."""
        check_digest(artifact_digest)
        memory = self._memory
        return await memory.change(
            lambda: memory.store.forgive(artifact_digest), lambda _count: None
        )

    async def _care(self, device_id: str, act: Callable[[Store, str], Device]) -> Device:
        memory, device = self._memory, self.device(device_id)
        return self._seen(
            await memory.change(lambda: act(memory.store, device.device_id), memory.learn_device)
        )

    def _seen(self, device: Device) -> Device:
        session = self._memory.sessions.get(device.agent_id)
        device = self._memory.vitals.on(device)
        if session is None:
            return device
        return replace(device, last_seen_s=max(device.last_seen_s, session.heard_s))

    # Sessions

    async def join(self, hello: Hello) -> Session:
        """See ``sessions.Host``; replaces an older session of the same agent."""
        memory = self._memory
        self._replace(hello.agent_id)
        session = Session(hello.agent_id, memory.now())
        orphans = [
            lease
            for lease in memory.live.values()
            if lease.agent_id == hello.agent_id
            and not any(held.job_id == lease.job_id and memory.holds(held) for held in hello.held)
        ]

        def adopt() -> News:
            renewed = memory.store.renew(hello.held, memory.now(), self._settings.lease_s)
            jobs = [memory.store.release(lease, memory.now()) for lease in orphans]
            devices = memory.store.report_devices(hello.agent_id, hello.devices, memory.now())
            return News(tuple(jobs), tuple(devices), tuple(renewed))

        def begin(news: News) -> None:
            self._replace(hello.agent_id)
            memory.sessions[hello.agent_id] = session
            session.send(Welcome(self._settings.heartbeat_s, self._settings.lease_s))
            memory.learn(news)
            for lease in hello.held:
                if not memory.holds(lease):
                    session.send(Abandon(lease, "the lease was lost"))

        await memory.change(adopt, begin)
        _log.info("agent connected", agent=hello.agent_id, devices=len(hello.devices))
        return session

    async def hear(self, session: Session, message: FromAgent) -> None:
        """See ``sessions.Host``."""
        memory = self._memory
        session.heard_s = memory.now()
        if isinstance(message, Heartbeat):
            self._assigner.renew(message.held)
        elif isinstance(message, JobProgress):
            memory.learn_progress(message)
        elif isinstance(message, JobResult):
            settle = partial(self._settlement.settle, session.agent_id, message)
            await memory.change(settle, memory.learn)
            session.send(Ack(message.lease))
        elif isinstance(message, Inventory):
            await memory.change(lambda: self._report(session.agent_id, message), memory.learn)
        elif isinstance(message, HealthReport):
            for health in message.devices:
                await self._tend(derived_id("device", session.agent_id, health.serial), health)
        else:
            raise InvalidRequest("a session has one Hello; open another session")

    async def leave(self, session: Session) -> None:
        """See ``sessions.Host``."""
        await self._assigner.close(session)

    async def _tend(self, device_id: str, health: DeviceHealth) -> None:
        """Take in how a device fares; one with a trouble that is news is quarantined."""
        memory = self._memory
        if device_id not in memory.state.devices:
            return  # It was unplugged on the way.
        trouble = new_trouble(memory.vitals.of(device_id), health)
        if trouble:
            _log.warning("device quarantined", device=device_id, reason=trouble)
            await memory.change(
                lambda: memory.store.set_quarantined(device_id, True, trouble, keep=True),
                memory.learn_device,
            )
        memory.vitals.put(device_id, health)

    def _replace(self, agent_id: str) -> None:
        old = self._memory.sessions.pop(agent_id, None)
        if old is not None:
            old.close(
                WrongState(f"agent {agent_id} connected again; two agents need different ids")
            )

    def _report(self, agent_id: str, inventory: Inventory) -> News:
        store = self._memory.store
        return News(
            devices=tuple(store.report_devices(agent_id, inventory.devices, self._memory.now()))
        )
