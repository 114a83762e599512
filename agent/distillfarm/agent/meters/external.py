"""Energy from an instrument outside of the device, as a program on this computer tells it.

The program prints a line for each reading: seconds on this computer's monotonic clock and watts,
either as two numbers or as ``{"t_s": ..., "watts": ...}``. Other lines are remarks.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import statistics
import time
from itertools import pairwise

import msgspec

from distillfarm.agent.meters.integration import Point, Record, cumulative
from distillfarm.agent.meters.sampled import NotMetered, SampledMeter

_IDLE_S = 3.0
_FIRST_READING_S = 15.0
# A reading from further away than this is on another clock.
_STALE_S = 5.0
_LINE_BYTES = 4096
_MOST_READINGS = 5_000_000
_ENDS_S = 5.0


class _Line(msgspec.Struct):
    t_s: float
    watts: float


class ExternalMeter(SampledMeter):
    """An ``EnergyMeter`` around the command line of a program that prints readings."""

    def __init__(self, command: str, idle_s: float = _IDLE_S) -> None:
        super().__init__(_Program(command, idle_s))


class _Program:
    """The program and what it has printed; see ``sampled.Instrument``."""

    period_s = 0.0

    def __init__(self, command: str, idle_s: float) -> None:
        self.idle_s = idle_s
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._points: list[Point] = []
        self._remark = ""

    async def begin(self) -> None:
        self._points = []
        try:
            self._process = await asyncio.create_subprocess_exec(
                *shlex.split(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=_LINE_BYTES,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise NotMetered(f"the meter's program cannot be started: {error}") from error
        try:
            async with asyncio.timeout(_FIRST_READING_S):
                await self.read()
        except TimeoutError:
            raise NotMetered(
                f"no reading of {self._command!r} within {_FIRST_READING_S:g} s{self._said()}"
            ) from None
        late_s = time.monotonic() - self._points[0].t_s
        if abs(late_s) > _STALE_S:
            raise NotMetered(
                f"{self._command!r} told a reading {late_s:.0f} s old; "
                "its times must be of this computer's monotonic clock"
            )

    async def read(self) -> float:
        """Wait for the next reading; its time."""
        if self._process is None or self._process.stdout is None:
            raise NotMetered("the meter's program does not run")
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError as error:
                raise NotMetered(f"{self._command!r} printed an endless line") from error
            if not line:
                code = await self._process.wait()
                raise NotMetered(f"{self._command!r} ended with code {code}{self._said()}")
            point = parse(line.decode(errors="replace"))
            if point is None:
                self._remark = line.decode(errors="replace").strip()
                continue
            if len(self._points) >= _MOST_READINGS:
                raise NotMetered(f"{self._command!r} told more than {_MOST_READINGS} readings")
            # Two of the same moment, or one out of order, would make a gap of nothing.
            if not self._points or point.t_s > self._points[-1].t_s:
                self._points.append(point)
                return point.t_s

    def record(self) -> Record:
        gaps_s = [late.t_s - early.t_s for early, late in pairwise(self._points)]
        if not gaps_s:
            raise NotMetered(f"{self._command!r} told one reading only")
        name = os.path.basename(shlex.split(self._command)[0])  # noqa: PTH119 - a word, no path
        return Record(
            method=f"external meter by {name}",
            curve=cumulative(self._points),
            interval_s=statistics.median(gaps_s),
            clock_s=0.01,
        )

    async def end(self) -> None:
        """End the program and everything that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        for word in (signal.SIGTERM, signal.SIGKILL):
            # The group lives on in what the program started, also when itself is gone.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, word)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ENDS_S):
                    await _ended(process)
                    return

    def _said(self) -> str:
        return f": {self._remark[:200]}" if self._remark else ""


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for the end; the pipe is only let go when all that is in it was read."""
    while process.stdout is not None and await process.stdout.read(_LINE_BYTES):
        pass
    await process.wait()


def parse(line: str) -> Point | None:
    """The reading in a line; None for a remark."""
    try:
        told = msgspec.json.decode(line, type=_Line)
        return Point(told.t_s, told.watts)
    except msgspec.MsgspecError:
        pass
    words = line.split()
    if len(words) != 2:  # noqa: PLR2004 - a time and a power
        return None
    try:
        return Point(float(words[0]), float(words[1]))
    except ValueError:
        return None
