"""Runs benchmarks on the farm for threads: submit, wait until all are final."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from distillfarm.controller.fleet import Fleet
from distillfarm.domain.errors import Cancelled, Unavailable
from distillfarm.domain.job import Job, JobRequest

T = TypeVar("T")

_LOOK_EVERY_S = 0.5


class Dispatcher:
    """The way from a study's thread to the fleet in its event loop; thread-safe.

    Never call it in the loop's own thread: it would wait for itself.
    """

    def __init__(self, fleet: Fleet, loop: asyncio.AbstractEventLoop) -> None:
        self._fleet = fleet
        self._loop = loop
        self._closed = threading.Event()

    def measure(
        self,
        requests: Sequence[JobRequest],
        *,
        on_progress: Callable[[Sequence[Job]], None],
        cancelled: Callable[[], bool],
    ) -> list[Job]:
        """Submit, wait until all are final, give them in the order of ``requests``.

        The same idempotency keys give the same jobs, so a caller that died may ask again.
        ``on_progress`` gets all jobs at every change; ``cancelled`` is asked at least every half
        second and may raise ``Cancelled`` itself; what else it raises leaves the jobs alone.

        Raises:
            AlreadyExists: a key is known with another request.
            Cancelled: ``cancelled`` said so; the unfinished jobs were cancelled, too.
            Unavailable: the controller stops; the jobs go on.
        """
        jobs = self._call(self._submit(requests))
        on_progress(jobs)
        while not all(job.state.final for job in jobs):
            try:
                if cancelled():
                    raise Cancelled(f"{len(jobs)} measurements were cancelled")
            except Cancelled:
                self._call(self._cancel(jobs))
                raise
            fresh = self._call(self._fleet.news(jobs, _LOOK_EVERY_S))
            if fresh != jobs:
                jobs = fresh
                on_progress(jobs)
        return jobs

    def close(self) -> None:
        """Let every waiting thread go with ``Unavailable``."""
        self._closed.set()

    async def _submit(self, requests: Sequence[JobRequest]) -> list[Job]:
        return [await self._fleet.submit(request) for request in requests]

    async def _cancel(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if not job.state.final:
                await self._fleet.cancel_job(job.job_id)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed.is_set():
            work.close()
            raise Unavailable("the controller is stopping; ask again when it is back")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not concurrent.futures.wait([future], _LOOK_EVERY_S).done:
            if self._closed.is_set():
                future.cancel()
                raise Unavailable("the controller is stopping; ask again when it is back")
        return future.result()
