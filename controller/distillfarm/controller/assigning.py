"""The two loops that keep the farm moving: one assigns jobs, one ends what has gone silent."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from distillfarm.controller.memory import Memory, News
from distillfarm.controller.scheduling.policy import Assignment, GiveUp, assign, give_up
from distillfarm.controller.sessions import Session, silent
from distillfarm.controller.settings import ControllerSettings
from distillfarm.domain.agent import Assign
from distillfarm.domain.errors import WrongState
from distillfarm.domain.job import Job, JobState, Lease

_SILENT_BEATS = 3
_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class Assigner:
    """Grants, renews and ends leases for a fleet's memory."""

    def __init__(self, memory: Memory, settings: ControllerSettings) -> None:
        self._memory = memory
        self._settings = settings
        self._renewals: dict[tuple[str, int], Lease] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._first_sweep_s = 0.0

    def start(self) -> None:
        """Begin both loops; agents get the time of a lease to come back and claim what they hold.

        Until then nothing expires, so that a controller that was away for long does not throw away
        what was measured meanwhile.
        """
        self._first_sweep_s = self._memory.now() + self._settings.lease_s
        self._loops = [
            asyncio.create_task(self._assign_for_ever(), name="assign"),
            asyncio.create_task(self._sweep_for_ever(), name="sweep"),
        ]

    async def stop(self) -> None:
        """End both loops."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def renew(self, held: Iterable[Lease]) -> None:
        """Renew leases at the next sweep; those that are not live are told off at once."""
        for lease in held:
            if self._memory.holds(lease):
                self._renewals[lease.device_id, lease.token] = lease
            else:
                self._memory.abandon(lease, "the lease was lost")

    async def close(self, session: Session) -> None:
        """End a session and take its devices offline; without effect when it was replaced."""
        memory, agent_id = self._memory, session.agent_id
        if memory.sessions.get(agent_id) is session:
            del memory.sessions[agent_id]
            _log.info("agent gone", agent=agent_id)
            await memory.change(
                lambda: News(devices=tuple(memory.store.agent_gone(agent_id, memory.now()))),
                memory.learn,
            )

    # Assigning

    async def _assign_for_ever(self) -> None:
        memory, stale = self._memory, False
        while True:
            await memory.awake.wait()
            memory.awake.clear()
            try:
                if stale:
                    await memory.change(memory.everything, memory.learn)
                stale = False
                await self._assign()
            except Exception:  # noqa: BLE001 - whatever ails the database may pass
                _log.exception("assigning failed; trying again")
                stale = True
                await asyncio.sleep(_RETRY_S)
                memory.awake.set()

    async def _assign(self) -> None:
        memory = self._memory
        decisions = assign(memory.state, self._settings.max_attempts)
        decisions += give_up(memory.state, memory.now(), self._settings.patience_s)
        pairs = [
            (each.job_id, each.device_id) for each in decisions if isinstance(each, Assignment)
        ]
        if pairs:
            await memory.change(lambda: self._grant(pairs), self._begin)
        hopeless = [d for d in decisions if isinstance(d, GiveUp)]
        if hopeless:
            await memory.change(lambda: self._fail(hopeless), memory.learn)

    def _grant(self, pairs: Sequence[tuple[str, str]]) -> News:
        store = self._memory.store
        leases = store.grant(pairs, self._memory.now(), self._settings.lease_s)
        done = {(lease.job_id, lease.device_id) for lease in leases}
        # What was refused had changed: look again.
        refused = [pair for pair in pairs if pair not in done]
        jobs = tuple(store.job(job_id) for job_id, _ in refused)
        devices = tuple(store.device(device_id) for _, device_id in refused)
        return News(jobs, devices, tuple(leases))

    def _begin(self, news: News) -> None:
        memory = self._memory
        for lease in news.leases:
            job = memory.jobs[lease.job_id]
            if job.attempts == 0:
                memory.metrics.queue_wait_s.observe(max(0.0, memory.now() - job.submitted_at_s))
            memory.learn_job(
                replace(
                    job,
                    state=JobState.RUNNING,
                    device_id=lease.device_id,
                    attempts=job.attempts + 1,
                )
            )
        memory.learn(news)
        for lease in news.leases:
            session = memory.sessions.get(lease.agent_id)
            if session is not None:
                session.send(Assign(lease, memory.jobs[lease.job_id].request))
            else:
                memory.start(memory.change(partial(self._release, lease), memory.learn))

    def _release(self, lease: Lease) -> News:
        job = self._memory.store.release(lease, self._memory.now())
        return self._memory.job_and_device(job, lease.device_id)

    def _fail(self, decisions: Sequence[GiveUp]) -> News:
        return News(tuple(self._fail_one(each) for each in decisions))

    def _fail_one(self, decision: GiveUp) -> Job:
        store = self._memory.store
        try:
            return store.fail_job(decision.job_id, decision.error, self._memory.now())
        except WrongState:  # cancelled or finished in the meantime
            return store.job(decision.job_id)

    # Sweeping

    async def _sweep_for_ever(self) -> None:
        period_s = self._settings.heartbeat_s / 2
        while True:
            began_s = self._memory.now()
            await asyncio.sleep(period_s)
            if self._memory.now() - began_s > 2 * period_s:
                # This process itself stood still: first hear what agents said meanwhile.
                continue
            try:
                await self._sweep()
            except Exception:  # noqa: BLE001 - whatever ails the database may pass
                _log.exception("the sweep failed; trying again")
            # Patience runs out without any event.
            self._memory.awake.set()

    async def _sweep(self) -> None:
        memory = self._memory
        silence_s = _SILENT_BEATS * self._settings.heartbeat_s
        for session in list(memory.sessions.values()):
            if session.heard_s + silence_s < memory.now():
                session.close(silent(session, silence_s))
                await self.close(session)
        held, self._renewals = list(self._renewals.values()), {}
        if held:
            await memory.change(lambda: self._renew(held), memory.learn)
        if memory.live and memory.now() >= self._first_sweep_s:
            await memory.change(self._expire, memory.learn)

    def _renew(self, held: Sequence[Lease]) -> News:
        memory = self._memory
        renewed = memory.store.renew(held, memory.now(), self._settings.lease_s)
        return News(leases=tuple(renewed))

    def _expire(self) -> News:
        store = self._memory.store
        lost = store.expire(self._memory.now())
        jobs = tuple(store.job(lease.job_id) for lease in lost)
        devices = tuple(store.device(lease.device_id) for lease in lost)
        return News(jobs, devices, lost=tuple(lost))
