"""One launch on a phone, followed over a link that may fail and come back."""

import asyncio
from collections.abc import AsyncIterator

from distillfarm.agent.drivers.android import faults, jobs
from distillfarm.agent.drivers.android.faults import PhoneFault
from distillfarm.agent.drivers.android.jobs import Job, JobState, Progress
from distillfarm.agent.drivers.android.line import PhoneLine, uncancelled
from distillfarm.agent.protocols import Exit
from distillfarm.domain.errors import DeviceFelled

OUTPUT_BYTES = 16 * 2**20
# The first looks are close together, for most launches of small models are short.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.2, 2.0
# Without flock on the phone a look returns at once.
_PAUSE_S = 0.25
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
        self._exit: Exit | None = None
        self._gone = False

    @property
    def pid(self) -> int:
        """The process id of its session's leader on the phone."""
        return self._job.pid

    async def lines(self) -> AsyncIterator[str]:
        """See ``protocols.AppRun``."""
        read_bytes, rest, look_s = 0, b"", _FIRST_LOOK_S
        while True:
            progress = await self._look(look_s)
            look_s = min(2 * look_s, _LONGEST_LOOK_S)
            # What was written before the end was seen is all there is.
            while piece := await self._line.ask(jobs.output, self._job, read_bytes):
                read_bytes += len(piece)
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
            if progress.state is not JobState.RUNNING:
                break
        if rest:
            yield rest.decode(errors="replace")

    async def wait(self) -> Exit:
        """See ``protocols.AppRun``.

        Raises:
            DeviceFelled: the phone restarted while the program ran.
            PhoneFault: the phone was lost meanwhile, or the program is not for it.
        """
        look_s = _FIRST_LOOK_S
        try:
            while self._exit is None:
                progress = await self._look(look_s)
                look_s = min(2 * look_s, _LONGEST_LOOK_S)
                if progress.state is not JobState.RUNNING:
                    words = await self._line.ask(jobs.errors, self._job)
                    self._exit = self._ended(progress, words.decode(errors="replace"))
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
            self._exit = self._exit or Exit(-_SIGKILL, False, False, "", "being ended")

    async def _look(self, wait_s: float) -> Progress:
        if self._exit is not None:
            return Progress(JobState.ENDED)
        clock = asyncio.get_running_loop().time
        began_s = clock()
        try:
            progress = await self._line.ask(jobs.progress, self._job, wait_s)
            if progress.state is JobState.LOST:
                await self._line.same_phone()
        except PhoneFault as error:
            if error.fault is faults.REBOOTED:
                raise DeviceFelled(str(error)) from error
            raise
        if progress.state is JobState.RUNNING and clock() - began_s < wait_s / 2:
            await asyncio.sleep(_PAUSE_S)
        return progress

    def _ended(self, progress: Progress, words: str) -> Exit:
        if progress.state is JobState.TIMED_OUT:
            return Exit(-_SIGKILL, False, True, words)
        # The whole session was killed: nobody does that but Android, for memory.
        code = _SIGNALLED + _SIGKILL if progress.code is None else progress.code
        if code in _NO_PROGRAM:
            raise PhoneFault(self._line.serial, faults.classify_exit(code) or faults.UNKNOWN, words)
        if code <= _SIGNALLED:
            return Exit(code, False, False, words)
        signal = code - _SIGNALLED
        reason = f"{OUTPUT_BYTES / 2**20:.0f} MiB of output" if signal == _SIGXFSZ else ""
        return Exit(-signal, signal == _SIGKILL, False, words, reason)
