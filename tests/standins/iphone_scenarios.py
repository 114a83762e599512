"""Has something happen to an iPhone around a job; what the agent made of it, and how soon."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from iphone_fault_table import Fault
from iphone_phone import Lab, Phone
from iphone_station import Station
from job_endings import Ending
from launches import GOLDEN, LEASE, request

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.ios import faults
from distillfarm.agent.drivers.ios.line import ANSWER_S, PhoneLine
from distillfarm.agent.drivers.ios.protocol import Question
from distillfarm.agent.inventory import Probed
from distillfarm.agent.jobs import Jobs
from distillfarm.agent.spool import Spool
from distillfarm.domain.agent import Assign, JobProgress, JobResult
from distillfarm.domain.measurement import Measurement, Outcome

PATIENCE_S = 6.0
"""So long a job waits for a phone that is away."""
_MODEL, _TARGET = GOLDEN / "cnn.onnx", "onnxruntime/cpu"
_SHORT = {"launches": 1, "max_warmup": 0, "iterations": 10}
_POLL_S, _PAUSE_S = 0.02, 0.5
_SCENARIO_S = 180.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class Observed:
    """What came of a fault.

    ``noticed_s`` runs from the strike until the agent knows that something is wrong: its first
    question that fails, or the job's end; None where a job went on without a failure. ``told_s``
    runs from the strike until the controller is told, after all patience; None where the job
    outlived it. ``recovered_s`` runs from the fault's end until a launch takes its first sample, of
    the same job or of the next one; 0 where the struck launch itself went on.
    """

    result: JobResult
    noticed_s: float | None
    told_s: float | None
    recovered_s: float

    @property
    def words(self) -> str:
        """What the controller is told in words."""
        found = self.result.measurement
        return self.result.error if found is None else found.reason


@dataclass(frozen=True)
class _Struck:
    """A job that a fault struck: its result, and when the fault began and was over.

    ``sampled_s`` is when another launch of the same job took its first sample, None if none did.
    """

    result: JobResult
    at_s: float
    over_s: float
    sampled_s: float | None
    ended_s: float


class HeardLine(PhoneLine):
    """A line that remembers when its questions failed."""

    def __init__(self, udid: str, where: str) -> None:
        super().__init__(udid, where, patience_s=PATIENCE_S)
        self.failed_s: list[float] = []

    async def ask_once(self, question: Question[_T], timeout_s: float = ANSWER_S) -> _T:
        """See ``PhoneLine.ask_once``."""
        try:
            return await super().ask_once(question, timeout_s)
        except PhoneFault:
            self.failed_s.append(time.monotonic())
            raise


class Scene:
    """One phone of a lab and its agent, to which one fault after the other happens."""

    def __init__(self, lab: Lab, phone: Phone, folder: Path) -> None:
        self._line = HeardLine(phone.udid, str(lab.socket))
        self.station = Station(lab, phone, folder, line=self._line)

    async def observe(self, fault: Fault) -> Observed:
        """Let it happen around a job on the phone, sound before and after.

        Raises:
            TimeoutError: it does not come to an end.
            FarmError: the phone cannot be used before anything happened.
        """
        async with asyncio.timeout(_SCENARIO_S):
            await asyncio.to_thread(self.station.lab.heal)
            return await self._observe(fault, await self._probed())

    async def close(self) -> None:
        """End the line."""
        await self.station.driver.close()

    async def _observe(self, fault: Fault, probed: Probed) -> Observed:
        struck = await self._strike(fault, probed)
        failed_s = [at_s for at_s in self._line.failed_s if struck.at_s <= at_s <= struck.ended_s]
        if Ending.of(struck.result) == Ending(Outcome.OK):
            noticed_s = failed_s[0] - struck.at_s if failed_s else None
            back_s = 0.0 if struck.sampled_s is None else struck.sampled_s - struck.over_s
            return Observed(struck.result, noticed_s, None, back_s)
        _, over_s = await self._do(fault.mend)
        back_s = await self._good_launch(probed, struck.result) - over_s
        noticed_s = min([*failed_s, struck.ended_s]) - struck.at_s
        return Observed(struck.result, noticed_s, struck.ended_s - struck.at_s, back_s)

    async def _strike(self, fault: Fault, probed: Probed) -> "_Struck":
        """The job with the fault before it or in it."""
        tasks: list[asyncio.Task[Any]] = []
        try:
            if fault.in_launch:
                job = self._beginning(probed, fault, tasks)
                await self.station.mid_launch()
            before = self.station.sampled()
            at_s, over_s = await self._do(fault.strike)
            sampled = asyncio.create_task(self._next_sample(before))
            tasks.append(sampled)
            if not fault.in_launch:
                job = self._beginning(probed, fault, tasks)
            if fault.mends_after_s is not None:
                await asyncio.sleep(fault.mends_after_s)
                _, over_s = await self._do(fault.mend)
            result = await job
            ended_s = time.monotonic()
            sampled_s = sampled.result() if sampled.done() else None
            return _Struck(result, at_s, over_s, sampled_s, ended_s)
        finally:
            await _stop(tasks)

    def _beginning(
        self, probed: Probed, fault: Fault, tasks: list[asyncio.Task[Any]]
    ) -> asyncio.Task[JobResult]:
        job = asyncio.create_task(self._job(probed, **fault.spec))
        tasks.append(job)
        return job

    async def _good_launch(self, probed: Probed, result: JobResult) -> float:
        """The moment of the first sample of the next job that is good, however many it takes."""
        while True:
            sampled = asyncio.create_task(self._next_sample(self.station.sampled()))
            try:
                if faults.UPDATED.name in result.error:
                    probed = await self._probed()
                result = await self._job(probed, **_SHORT)
            finally:
                await _stop([sampled])
            if Ending.of(result) == Ending(Outcome.OK):
                return sampled.result()
            await asyncio.sleep(_PAUSE_S)

    async def _job(self, probed: Probed, **spec: Any) -> JobResult:
        """A job from its assignment to the result that the controller is sent."""
        asked, _ = request(_MODEL, _TARGET, **spec)
        ended: asyncio.Future[JobResult] = asyncio.get_running_loop().create_future()

        async def execute(assign: Assign, tell: Callable[[str, float], None]) -> Measurement:
            del assign, tell
            return await self.station.measure(probed, _MODEL, _TARGET, **spec)

        def send(content: JobProgress | JobResult) -> None:
            if isinstance(content, JobResult):
                ended.set_result(content)

        with tempfile.TemporaryDirectory() as folder:
            jobs = Jobs(execute, Spool(Path(folder)), send)
            jobs.start(Assign(LEASE, asked))
            try:
                return await ended
            finally:
                await jobs.close()

    async def _probed(self) -> Probed:
        """The phone as the inventory has it, which asks again where it was updated."""
        try:
            return await self.station.probed()
        except PhoneFault as error:
            if error.fault is not faults.UPDATED:
                raise
            return await self.station.probed()

    async def _next_sample(self, besides: frozenset[str]) -> float:
        """When a launch that is none of these has taken a sample."""
        while not self.station.sampled() - besides:  # noqa: ASYNC110 - the app is another process
            await asyncio.sleep(_POLL_S)
        return time.monotonic()

    async def _do(self, what: Callable[[Station], None] | None) -> tuple[float, float]:
        """Have it happen; when it began to, and when it was so."""
        began_s = time.monotonic()
        if what is not None:
            await asyncio.to_thread(what, self.station)
        return began_s, time.monotonic()


async def _stop(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
