"""One launch on a phone, followed over a link that may fail and come back."""

import asyncio
from collections.abc import AsyncIterator

from distillfarm.agent.drivers.android import faults, jobs
from distillfarm.agent.drivers.android.jobs import Job, JobState, News
from distillfarm.agent.drivers.android.line import PhoneLine, uncancelled
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.protocols import Exit
from distillfarm.domain.errors import DeviceFelled

OUTPUT_BYTES = 16 * 2**20
# The first looks are close together, for most launches of small models are short.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.2, 2.0
# Without flock on the phone a look returns at once.
_PAUSE_S = 0.25
_LINE_BYTES = 4 * 2**20
_LINES_AT_ONCE = 1000
_SIGNALLED = 128
_SIGKILL, _SIGXFSZ = 9, 25
_NO_PROGRAM = (126, 127)


class PhoneRun:
    """A running program; see ``protocols.AppRun``.

    ``clock_offset_s`` is what the agent's monotonic clock is ahead of the phone's; None where it
    is not known.
    """

    def __init__(self, line: PhoneLine, job: Job, clock_offset_s: float | None) -> None:
        self.clock_offset_s = clock_offset_s
        self._line = line
        self._job = job
        self._wait_s = _FIRST_LOOK_S
        self._final: News | None = None
        self._exit: Exit | None = None
        self._gone = False

    @property
    def pid(self) -> int:
        """The process id of its session's leader on the phone."""
        return self._job.pid

    async def lines(self) -> AsyncIterator[str]:
        """See ``protocols.AppRun``; a line that is longer than ``_LINE_BYTES`` is cut."""
        read_bytes, rest, more = 0, b"", True
        while more or self._final is None:
            news = await self._look(read_bytes)
            more, read_bytes = news.more, read_bytes + len(news.output)
            *whole, rest = (rest + news.output).split(b"\n")
            for index, line in enumerate(whole):
                yield line[:_LINE_BYTES].decode(errors="replace")
                if index % _LINES_AT_ONCE == 0:
                    # A flood of lines keeps nobody else in this process waiting.
                    await asyncio.sleep(0)
            rest = rest[:_LINE_BYTES]
        if rest:
            yield rest.decode(errors="replace")

    async def wait(self) -> Exit:
        """See ``protocols.AppRun``.

        Raises:
            DeviceFelled: the phone restarted while the program ran.
            PhoneFault: the phone was lost meanwhile, or the program is not for it.
        """
        try:
            while self._exit is None:
                final = self._final or await self._look(OUTPUT_BYTES)
                if final.state is not JobState.RUNNING:
                    self._exit = self._ended(final)
        except asyncio.CancelledError:
            await self.kill()
            raise
        return self._exit

    async def kill(self) -> None:
        """See ``protocols.AppRun``."""
        if not self._gone:
            try:
                await uncancelled(asyncio.ensure_future(self._line.ask(jobs.end, self._job)))
            except PhoneFault as error:
                # Nothing outlives a restart; its folder goes when the driver is entered next.
                if error.fault not in (faults.REBOOTED, faults.UPDATED):
                    raise
            self._gone = True
            self._final = self._final or News(JobState.ENDED)
            self._exit = self._exit or Exit(-_SIGKILL, False, False, "", "being ended")

    async def _look(self, start_byte: int) -> News:
        """What is new, as soon as it ended or a while has passed."""
        if self._gone:
            return News(JobState.ENDED)
        clock = asyncio.get_running_loop().time
        began_s, wait_s = clock(), 0.0 if self._final else self._wait_s
        try:
            news = await self._line.ask(jobs.news, self._job, start_byte, wait_s)
            if news.state is JobState.LOST:
                await self._line.same_phone()
        except PhoneFault as error:
            if error.fault is faults.REBOOTED:
                raise DeviceFelled(str(error)) from error
            raise
        if news.state is not JobState.RUNNING:
            self._final = news
        elif not news.more and clock() - began_s < wait_s / 2:
            await asyncio.sleep(_PAUSE_S)
        self._wait_s = min(2 * self._wait_s, _LONGEST_LOOK_S)
        return news

    def _ended(self, final: News) -> Exit:
        words = final.errors.decode(errors="replace")
        if final.state is JobState.TIMED_OUT:
            return Exit(-_SIGKILL, False, True, words)
        if final.code is None:
            # For memory Android kills one process, and the session's leader tells of it.
            raise PhoneFault(self._line.serial, faults.VANISHED, words)
        code = final.code
        if code in _NO_PROGRAM:
            raise PhoneFault(self._line.serial, faults.classify_exit(code) or faults.UNKNOWN, words)
        if code <= _SIGNALLED:
            return Exit(code, False, False, words)
        signal = code - _SIGNALLED
        reason = f"{OUTPUT_BYTES / 2**20:.0f} MiB of output" if signal == _SIGXFSZ else ""
        return Exit(-signal, signal == _SIGKILL, False, words, reason)
