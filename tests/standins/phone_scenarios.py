"""Has something happen to a phone around a job; what the agent made of it, and how soon."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from job_endings import Ending
from phone_fault_table import Fault, Moment
from phone_station import Station
from structlog.testing import capture_logs
from structlog.typing import EventDict

from distillfarm.agent.inventory import Probed
from distillfarm.domain.agent import JobResult
from distillfarm.domain.measurement import Outcome

# What the agent's log says of a phone that it lost, and of one that it has again.
_AWAY, _BACK = "the phone is away", "the phone answers again"


@dataclass(frozen=True)
class Observed:
    """What came of a fault.

    ``detected_s`` runs from the strike to the agent's first word of it; None where there was none,
    for a glitch that passes in time needs none. ``recovered_s`` runs from the mending until the
    phone is of use again: to the job, or ready for the next; 0 where it always was.
    """

    result: JobResult
    detected_s: float | None
    recovered_s: float
    left: list[str]
    settings_kept: bool

    @property
    def words(self) -> str:
        """What the controller is told in words."""
        found = self.result.measurement
        return self.result.error if found is None else found.reason


async def observe(station: Station, fault: Fault) -> Observed:
    """Let it happen around a job; the phone is sound and at rest afterwards, but for the cache."""
    probed = await station.known()
    if fault.floods:
        probed = Probed(station.flooding(probed.attached), probed.info)
    before = station.settings_now()
    with _heard() as said:
        result, struck_s, mended_s = await _happen(station, fault, probed)
        ended_s = time.monotonic()
        away, back = (
            [at_s for at_s, event in said if event == word and at_s >= struck_s]
            for word in (_AWAY, _BACK)
        )
        survived = Ending.of(result) == Ending(Outcome.OK)
        if result.measurement is None:
            mended_s = await _do(station, fault.mend)
            async with probed.attached.driver:
                recovered_s = time.monotonic() - mended_s
        else:
            recovered_s = back[-1] - (mended_s or away[0]) if back else 0.0
    seen = Observed(
        result,
        # A loss that was over when it was looked into is told by the second word alone.
        None if survived and not back else min([*away, *back, ended_s]) - struck_s,
        max(0.0, recovered_s),
        await _left(station),
        station.settings_now() == before,
    )
    await asyncio.to_thread(station.heal)
    return seen


async def _happen(
    station: Station, fault: Fault, probed: Probed
) -> tuple[JobResult, float, float | None]:
    """The job with the fault in it: its result, and when it struck and was mended."""
    reached = {each: asyncio.Event() for each in Moment}

    def report(text: str) -> None:
        for moment, event in reached.items():
            if text.startswith(moment.value):
                event.set()

    reached[Moment.BEFORE_JOB].set()
    struck_s = await _do(station, fault.strike) if fault.moment is Moment.BEFORE_JOB else None
    job = asyncio.create_task(station.measure(probed, fault.model, report, **fault.spec))
    mended_s = None
    try:
        if struck_s is None:
            if fault.moment is Moment.SAMPLING:
                await station.until_said(fault.moment.value)
            else:
                await reached[fault.moment].wait()
            struck_s = await _do(station, fault.strike)
        if fault.mends_after_s is not None:
            await asyncio.sleep(fault.mends_after_s)
            mended_s = await _do(station, fault.mend)
        return await job, struck_s, mended_s
    finally:
        job.cancel()
        await asyncio.wait([job])


async def _do(station: Station, what: Callable[[Station], None] | None) -> float:
    """Have it happen; when it began to."""
    began_s = time.monotonic()
    if what is not None:
        await asyncio.to_thread(what, station)
    return began_s


async def _left(station: Station) -> list[str]:
    """What stays on the phone; what was just killed may still be on its way out."""
    for _ in range(20):
        if not (left := station.left()):
            break
        await asyncio.sleep(0.1)
    return left


@contextmanager
def _heard() -> Iterator[list[tuple[float, str]]]:
    """What the agent logs: the moment and the event."""
    said: list[tuple[float, str]] = []

    def note(logger: object, method: str, entry: EventDict) -> EventDict:
        del logger, method
        said.append((time.monotonic(), str(entry["event"])))
        return entry

    with capture_logs(processors=(note,)):
        yield said
