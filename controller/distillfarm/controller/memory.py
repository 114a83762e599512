"""What the controller knows at once: the store's present, in the event loop's own thread.

The store is the truth. All changes go through one thread of the store's, and each is learned here
when it is done, in the order in which the store made it. A decision on a view that is a moment
old is refused by the store and looked up again, so no order of events can double-book a device.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from distillfarm.controller.changes import Changes
from distillfarm.controller.health import Vitals
from distillfarm.controller.metrics import FarmMetrics
from distillfarm.controller.scheduling.policy import progress_text
from distillfarm.controller.scheduling.state import FarmState
from distillfarm.controller.sessions import Session
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.agent import Abandon, JobProgress
from distillfarm.domain.hardware import Device
from distillfarm.domain.job import Job, JobState, Lease

T = TypeVar("T")


@dataclass(frozen=True)
class News:
    """What the store holds after a change; ``lost`` are leases that are live no more."""

    jobs: tuple[Job, ...] = ()
    devices: tuple[Device, ...] = ()
    leases: tuple[Lease, ...] = ()
    lost: tuple[Lease, ...] = ()


class Memory:
    """Devices and how they fare, unfinished jobs, live leases and sessions.

    ``awake`` is set at every change that may let a job be assigned.
    """

    def __init__(self, store: Store, metrics: FarmMetrics, now: Callable[[], float]) -> None:
        self.store = store
        self.metrics = metrics
        self.now = now
        self.state = FarmState()
        self.vitals = Vitals()
        self.sessions: dict[str, Session] = {}
        self.jobs: dict[str, Job] = {}
        self.live: dict[str, Lease] = {}
        self.changes = Changes(asyncio.get_running_loop())
        self.awake = asyncio.Event()
        self._progress: dict[str, JobProgress] = {}
        self._thread = ThreadPoolExecutor(1, "store")
        self._changing: set[asyncio.Task[Any]] = set()

    async def change(self, call: Callable[[], T], learn: Callable[[T], None]) -> T:
        """Run ``call`` in the store's thread and ``learn`` its result here.

        Both happen even if the caller is cancelled: a client that hangs up must not leave a job in
        the store that nobody here knows of.
        """
        return await asyncio.shield(self.start(self._run(call, learn)))

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run in the background; ``close`` waits for it."""
        task = asyncio.create_task(coroutine)
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)
        return task

    async def close(self) -> None:
        """Wait until every change is made and learned."""
        while self._changing:
            await asyncio.wait(self._changing)
        self._thread.shutdown()

    async def _run(self, call: Callable[[], T], learn: Callable[[T], None]) -> T:
        result = await asyncio.get_running_loop().run_in_executor(self._thread, call)
        learn(result)
        return result

    def learn(self, news: News) -> None:
        """Take in what the store holds now."""
        for device in news.devices:
            self.learn_device(device)
        for job in news.jobs:
            self.learn_job(job)
        for lease in news.leases:
            if lease.job_id in self.jobs:
                self.live[lease.job_id] = lease
        for lease in news.lost:
            self.abandon(lease, "the lease was lost")

    def learn_device(self, device: Device) -> None:
        """Take in a device."""
        self.state.put_device(device, self.now())
        self.awake.set()

    def learn_job(self, job: Job) -> None:
        """Take in a job."""
        if job.state is JobState.RUNNING:
            self.state.start_job(job)
        else:
            self.live.pop(job.job_id, None)
            self._progress.pop(job.job_id, None)
        if job.state is JobState.QUEUED:
            self.state.put_job(job, self.now())
        if not job.state.final:
            self.jobs[job.job_id] = job
        else:
            self.state.forget_job(job.job_id)
            if self.jobs.pop(job.job_id, None) is not None:
                self.metrics.finished.labels(job.state.value).inc()
        self.changes.tell(job.job_id)
        self.awake.set()

    def learn_progress(self, progress: JobProgress) -> None:
        """Take in how far a job is; without effect when the lease is not live."""
        if self.holds(progress.lease):
            self._progress[progress.lease.job_id] = progress
            self.changes.tell(progress.lease.job_id)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is live."""
        live = self.live.get(lease.job_id)
        return live is not None and (live.device_id, live.token) == (lease.device_id, lease.token)

    def unfinished(self, job_id: str) -> Job | None:
        """A job with its progress, or None when it is final or unknown."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        if job.state is JobState.QUEUED:
            return replace(job, progress=progress_text(self.state, job))
        told = self._progress.get(job_id)
        return replace(job, progress=told.text, fraction=told.fraction) if told else job

    def abandon(self, lease: Lease, reason: str) -> None:
        """Tell the agent, if it is connected, to stop."""
        session = self.sessions.get(lease.agent_id)
        if session is not None:
            session.send(Abandon(lease, reason))

    def everything(self) -> News:
        """What the store holds of the unfinished; blocks, for the store's thread."""
        jobs = self.store.jobs([JobState.QUEUED, JobState.RUNNING])
        return News(tuple(jobs), tuple(self.store.devices()), tuple(self.store.leases()))

    def job_and_device(self, job: Job, device_id: str) -> News:
        """A changed job and its device as the store holds it; blocks, for the store's thread."""
        return News((job,), (self.store.device(device_id),) if device_id else ())
