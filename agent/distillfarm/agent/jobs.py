"""The jobs that run on this agent, one a device, from assignment to spooled result."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from distillfarm.agent.spool import Spool
from distillfarm.domain.agent import Assign, JobProgress, JobResult
from distillfarm.domain.errors import DeviceFelled, FarmError
from distillfarm.domain.job import Lease
from distillfarm.domain.measurement import Measurement

_log = structlog.get_logger(__name__)

Execute = Callable[[Assign, Callable[[str, float], None]], Awaitable[Measurement]]


@dataclass
class _Running:
    lease: Lease
    task: asyncio.Task[None]


class Jobs:
    """Runs assignments and spools their results; at most one job a device at any time.

    ``execute`` measures; ``send`` takes progress and results for the controller, which may be
    lost: results are kept in the spool until ``acknowledge``.
    """

    def __init__(
        self, execute: Execute, spool: Spool, send: Callable[[JobProgress | JobResult], None]
    ) -> None:
        self._execute = execute
        self._spool = spool
        self._send = send
        self._running: dict[str, _Running] = {}

    def held(self) -> tuple[Lease, ...]:
        """The leases whose jobs run, or whose results wait for an acknowledgement."""
        running = [each.lease for each in self._running.values() if not each.task.done()]
        return (*running, *(result.lease for result in self._spool.results()))

    def unsent(self) -> list[JobResult]:
        """Results to send again, after the connection was lost."""
        return self._spool.results()

    def start(self, assign: Assign) -> None:
        """Begin a job once what ran on the device before has ended; repeats are ignored."""
        before = self._running.get(assign.lease.device_id)
        if before is not None and before.lease.token >= assign.lease.token:
            return
        task = asyncio.create_task(self._run(assign, before), name=assign.lease.job_id)
        self._running[assign.lease.device_id] = _Running(assign.lease, task)

    async def abandon(self, lease: Lease) -> None:
        """Stop the job of a lease, wait for its end and drop its result; no-op if unknown."""
        running = self._running.get(lease.device_id)
        if running is not None and _same(running.lease, lease):
            await _stop(running.task)
        self._spool.drop(lease)

    def acknowledge(self, lease: Lease) -> None:
        """Drop a result that the controller has taken or refused."""
        self._spool.drop(lease)

    async def close(self) -> None:
        """Stop everything that runs; nothing of it is spooled."""
        await asyncio.gather(*(_stop(each.task) for each in self._running.values()))

    async def _run(self, assign: Assign, before: _Running | None) -> None:
        if before is not None:
            # The controller has taken the device from the older lease.
            await _stop(before.task)
        lease = assign.lease
        _log.info("job begins", job=lease.job_id, device=lease.device_id)

        def report(text: str, fraction: float) -> None:
            self._send(JobProgress(lease, text, fraction))

        result = await self._outcome(assign, report)
        # fsync can take tens of milliseconds; the heartbeat must not wait for it.
        await asyncio.to_thread(self._spool.put, result)
        self._send(result)

    async def _outcome(self, assign: Assign, report: Callable[[str, float], None]) -> JobResult:
        try:
            return JobResult(assign.lease, measurement=await self._execute(assign, report))
        except FarmError as error:
            _log.warning("job failed", job=assign.lease.job_id, reason=str(error))
            return JobResult(
                assign.lease,
                error=str(error),
                retryable=error.retryable,
                blame=error.blame,
                felled=isinstance(error, DeviceFelled),
            )
        except Exception as error:  # noqa: BLE001
            # A defect of a plug-in must end its job, not the agent; it is told apart and logged.
            _log.exception("job broke the agent's code", job=assign.lease.job_id)
            text = f"internal error on agent: {type(error).__name__}: {error}"
            return JobResult(assign.lease, error=text, retryable=True)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _same(left: Lease, right: Lease) -> bool:
    return (left.job_id, left.token) == (right.job_id, right.token)
