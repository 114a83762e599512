"""One launch on an iPhone, followed over a link that may fail and come back."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import structlog

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.ios import crashes, faults, job_files
from distillfarm.agent.drivers.ios.apps import PhoneApp
from distillfarm.agent.drivers.ios.files import DOCUMENTS, JOBS, digest_of, duration_s
from distillfarm.agent.drivers.ios.job_files import JobFile, ResultFile
from distillfarm.agent.drivers.ios.line import ANSWER_S, PhoneLine
from distillfarm.agent.drivers.ios.protocol import (
    Begin,
    CrashReports,
    End,
    Follow,
    ImageMounted,
    Progress,
    ReadFile,
    WriteFile,
)
from distillfarm.agent.program.order import Order
from distillfarm.agent.protocols import Exit
from distillfarm.agent.runners.reports import Event, Finished, RuntimeMissing
from distillfarm.domain.errors import Blame, DeviceFelled, MissingExtra, WrongState
from distillfarm.domain.job import ColdStart

_LOOK_S = 5.0
_TAIL_CHARACTERS = 4096
_SIGKILL = 9
# A report is written beside the death that it tells of.
_REPORT_TRIES, _REPORT_PAUSE_S = 4, 0.5
_MOST_STARTS = 2
# Without trust or image nobody can ask, and both went with everything that ran.
_NOTHING_RUNS = (faults.UNTRUSTED, faults.NO_IMAGE)
_END_S = 15.0
_NOBODY_ASKS_FOR_LINES = 2**31

Result = Callable[[ResultFile], None]
"""Takes what the app answered."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Start:
    """What is launched, and how; ``known_reports`` lay on the phone before."""

    app: PhoneApp
    arguments: tuple[str, ...]
    environment: dict[str, str]
    timeout_s: float
    known_reports: tuple[str, ...]


class PhoneRun:
    """A running app that is heard by what it prints; see ``protocols.AppRun``."""

    clock_offset_s: ClassVar[float | None] = None

    def __init__(self, line: PhoneLine, start: Start) -> None:
        self._line = line
        self._start = start
        self._pid = 0
        self._ends_s = 0.0
        self._exit: Exit | None = None
        self._gone = False

    @property
    def pid(self) -> int:
        """The process id on the phone."""
        return self._pid

    async def begin(self) -> None:
        """Start it; once, or again after it was interrupted."""
        start = self._start
        self._pid = await self._line.ask(
            Begin(start.app.bundle, start.arguments, start.environment), ANSWER_S * 2
        )
        self._ends_s = asyncio.get_running_loop().time() + start.timeout_s

    async def lines(self) -> AsyncIterator[str]:
        """See ``protocols.AppRun``."""
        number = 0
        while True:
            progress = await self._follow(number)
            for line in progress.lines:
                yield line
            number += len(progress.lines)
            if progress.ended or self._left_s() <= 0:
                return

    async def wait(self) -> Exit:
        """See ``protocols.AppRun``.

        Raises:
            DeviceFelled: the phone restarted while the app ran.
            PhoneFault: the phone was lost meanwhile.
        """
        try:
            if self._exit is None:
                self._exit = await self._to_its_end()
        except asyncio.CancelledError:
            await self.kill()
            raise
        return self._exit

    async def kill(self) -> None:
        """See ``protocols.AppRun``."""
        if self._gone:
            return
        ending = asyncio.ensure_future(self._line.ask(End(self._pid), _END_S))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            raise
        except PhoneFault as error:
            # What a lost link left running is ended by the next launch.
            if error.blame is Blame.PHONE and error.fault not in _NOTHING_RUNS:
                raise
        finally:
            self._gone = True
            self._exit = self._exit or Exit(-_SIGKILL, False, False, "", "being ended")

    def _left_s(self) -> float:
        return self._ends_s - asyncio.get_running_loop().time()

    async def _follow(self, number: int) -> Progress:
        if self._exit is not None:
            return Progress((), ended=True)
        wait_s = max(0.0, min(_LOOK_S, self._left_s()))
        return await self._line.ask(Follow(self._pid, number, wait_s), wait_s + ANSWER_S)

    async def _to_its_end(self) -> Exit:
        while True:
            progress = await self._follow(_NOBODY_ASKS_FOR_LINES)
            if progress.ended:
                return await self._ended(progress)
            if self._left_s() <= 0:
                tail = await self._tail()
                await self.kill()
                return Exit(-_SIGKILL, False, True, tail)

    async def _tail(self) -> str:
        said = await self._line.ask(Follow(self._pid, 0, 0.0))
        return "\n".join(said.lines)[-_TAIL_CHARACTERS:]

    async def _ended(self, progress: Progress) -> Exit:
        tail = await self._tail()
        if progress.code is not None and progress.code >= 0:
            return Exit(progress.code, False, False, tail)
        signal = progress.signal or -(progress.code or -_SIGKILL)
        cause = await self._cause()
        words = cause.words if cause else "iOS ended it and left no report"
        out_of_memory = cause is not None and cause.out_of_memory
        return Exit(-signal, out_of_memory, False, f"{tail}\n{words}".strip())

    async def _cause(self) -> crashes.Cause | None:
        question = CrashReports(self._start.app.process, self._start.known_reports)
        for _ in range(_REPORT_TRIES):
            reports = await self._line.ask(question)
            found = crashes.cause(reports, self._pid)
            if found is not None:
                return found
            await asyncio.sleep(_REPORT_PAUSE_S)
        return None


class JobRun(PhoneRun):
    """A running app that answers by files: its lines are the events that it wrote.

    Whatever ran while the link was lost is not counted: it is begun again, under another name.
    """

    def __init__(self, line: PhoneLine, start: Start, order: Order, result: Result) -> None:
        super().__init__(line, start)
        self._order = order
        self._take = result
        self._job: JobFile | None = None
        self._starts = 0

    async def begin(self) -> None:
        """Write the job and start the app with it."""
        self._starts += 1
        job = job_files.job_of(
            self._order,
            f"j{secrets.token_hex(8)}",
            secrets.token_hex(16),
            digest_of(self._order.model),
        )
        self._job = job
        self._start = Start(
            self._start.app,
            ("--job", job.job),
            self._start.environment,
            self._start.timeout_s,
            self._start.known_reports,
        )
        await self._line.ask(
            WriteFile(
                self._start.app.bundle,
                self._path(job, job_files.JOB),
                job_files.encode(job),
            )
        )
        await super().begin()

    async def lines(self) -> AsyncIterator[str]:
        """See ``protocols.AppRun``.

        Raises:
            MissingExtra: the app was built without the runtime.
        """
        await self.wait()
        events = await self._events()
        if self._was_colder(events):
            # The app had nothing compiled yet, and has now.
            self._exit = None
            await self.begin()
            await self.wait()
            events = await self._events()
        if events and isinstance(events[-1], RuntimeMissing):
            raise MissingExtra(f"{events[-1].reason}; link it into the app, see docs/iphone.md")
        for line in job_files.lines(events):
            yield line

    def _was_colder(self, events: Sequence[Event]) -> bool:
        last = events[-1] if events else None
        return (
            isinstance(last, Finished)
            and last.cold_start is ColdStart.FIRST_EVER
            and self._order.cold != ColdStart.FIRST_EVER.value
        )

    async def _to_its_end(self) -> Exit:
        while True:
            try:
                return await super()._to_its_end()
            except PhoneFault as error:
                if error.blame is Blame.PHONE or self._starts >= _MOST_STARTS:
                    raise
                await self._again(error)

    async def _again(self, lost: PhoneFault) -> None:
        """Begin anew once the phone is back, if it is still the same and did not restart.

        Raises:
            DeviceFelled: it restarted.
            PhoneFault: it did not come back, or is not the same.
        """
        before = self._line.before
        identity = await self._line.back(lost)
        if before is not None and identity.build != before.build:
            words = f"{before.build} became {identity.build}"
            raise PhoneFault(self._line.udid, faults.UPDATED, words) from lost
        if not await self._line.ask(ImageMounted()):
            # It is gone after a restart, and only then; so is the app.
            self._gone = True
            fault = PhoneFault(self._line.udid, faults.REBOOTED, "its developer image is gone")
            raise DeviceFelled(str(fault)) from lost
        _log.warning("an interrupted launch is begun again", device=self._line.udid, why=str(lost))
        await self.begin()

    async def _events(self) -> tuple[Event, ...]:
        """What the app said: in its result, or until it died in its status."""
        job = self._job
        if job is None:
            return ()
        content = await self._read(job, job_files.RESULT)
        result = None
        if content is not None:
            with contextlib.suppress(WrongState):
                result = job_files.decode_result(content, job)
        if result is not None:
            self._take(result)
            return result.events
        content = await self._read(job, job_files.STATUS)
        if content is not None:
            with contextlib.suppress(WrongState):
                return job_files.decode_status(content, job).events
        return ()

    async def _read(self, job: JobFile, name: str) -> bytes | None:
        most_bytes = job_files.LARGEST_BYTES
        return await self._line.ask(
            ReadFile(self._start.app.bundle, self._path(job, name), most_bytes),
            duration_s(most_bytes),
        )

    def _path(self, job: JobFile, name: str) -> str:
        return f"{DOCUMENTS}/{JOBS}/{job.job}/{name}"
