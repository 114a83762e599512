"""Starts a program under the supervisor and tells how it fares: its lines, its end.

The program runs with a clean environment in its own session. It ends, with everything that it
started, when it passes a limit, when ``kill`` is called, and when this process dies by any means.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from distillfarm.domain.errors import InternalError
from distillfarm.sandbox.limits import Limits

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
STDERR_TAIL_BYTES = 8192
# Longer than the supervisor needs at most to end everything.
_SUPERVISOR_ENDS_S = 20.0
# What native code says when memory that it asked for was refused (RLIMIT_DATA).
_NO_MEMORY_WORDS = ("MemoryError", "bad_alloc", "Cannot allocate memory", "not enough memory")


@dataclass(frozen=True)
class Exit:
    """How a program ended.

    ``code`` is negative for a signal. ``reason`` is empty when it ended by itself, else why it
    was ended: ``memory``, ``time``, ``disk``, ``processes``, ``output`` or ``asked``.
    ``peak_rss_bytes`` is the high-water mark of the program or the largest sum seen over it and
    all that it started.
    """

    code: int
    out_of_memory: bool
    timed_out: bool
    stderr_tail: str
    peak_rss_bytes: int
    reason: str = ""


class _Started(msgspec.Struct, tag="started"):
    pid: int
    walls: tuple[str, ...]


class _Ended(msgspec.Struct, tag="ended"):
    status: int | None
    reason: str
    peak_rss_bytes: int


class _Order(msgspec.Struct):
    argv: list[str]
    environment: dict[str, str]
    folders: list[str]
    memory_bytes: int
    disk_bytes: int
    wall_s: float


async def spawn(
    argv: Sequence[str],
    *,
    limits: Limits,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    writable: Sequence[Path] = (),
) -> "Process":
    """Start ``argv`` in ``folder``, which with ``writable`` is the only place where it may write.

    ``environment`` is added to a minimal one; nothing else is inherited. The program finds the
    monotonic nanoseconds right before its start in ``DISTILLFARM_LAUNCH_NS``.

    Raises:
        InternalError: the program could not be started.
    """
    order = _order(argv, limits, [folder, *writable], environment or {})
    ours, theirs = socket.socketpair()
    try:
        supervisor = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            "-B",
            str(_SUPERVISOR),
            stdin=theirs.fileno(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    answers, lifeline = await asyncio.open_connection(sock=ours)
    lifeline.write(msgspec.json.encode(order) + b"\n")
    process = Process(supervisor, answers, lifeline)
    try:
        await process.started()
    except BaseException:
        await process.kill()
        raise
    return process


def _order(
    argv: Sequence[str], limits: Limits, folders: Sequence[Path], environment: Mapping[str, str]
) -> _Order:
    writable = [str(each.resolve()) for each in folders]
    return _Order(
        argv=list(argv),
        environment=clean_environment(writable[0]) | dict(environment),
        folders=writable,
        memory_bytes=limits.memory_bytes,
        disk_bytes=limits.disk_bytes,
        wall_s=limits.wall_s,
    )


def clean_environment(home: str) -> dict[str, str]:
    """The environment of every sandboxed program: no credentials, one thread, homeless."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    pinned = dict.fromkeys(_THREAD_VARIABLES, "1")
    return {
        "PATH": os.defpath,
        "HOME": home,
        "TMPDIR": home,
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **pinned,
        **kept,
    }


_KEPT_VARIABLES = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "PATH", "TZ")
_THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


class Process:
    """A running program. Use it as an async context manager, or call ``kill`` in the end."""

    def __init__(
        self,
        supervisor: asyncio.subprocess.Process,
        answers: asyncio.StreamReader,
        lifeline: asyncio.StreamWriter,
    ) -> None:
        self._supervisor = supervisor
        self._answers = answers
        self._lifeline = lifeline
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._flooded = False
        self._stderr = b""
        self._begun: _Started | None = None
        self._end = asyncio.create_task(self._follow())
        self._begin = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._begun.pid if self._begun else 0

    @property
    def walls(self) -> tuple[str, ...]:
        """What this kernel keeps the program from, in words; empty without such means."""
        return self._begun.walls if self._begun else ()

    async def started(self) -> None:
        """Wait until the program is about to be executed; ``spawn`` has done so.

        Raises:
            InternalError: it never came so far.
        """
        await asyncio.shield(self._begin)

    async def lines(self) -> AsyncIterator[str]:
        """Its standard output as it comes, a line at a time, until it ends; for one reader.

        A line longer than 4 MiB is cut; more than 64 MiB in all ends the program.
        """
        while (line := await self._lines.get()) is not None:
            yield line
        self._lines.put_nowait(None)

    async def wait(self) -> Exit:
        """How it ended; safe to call twice. Cancelling this kills the program first."""
        try:
            return await asyncio.shield(self._end)
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def kill(self) -> None:
        """End it and everything that it started; returns when all are gone; idempotent."""
        self._ask_for_end()
        last_resort = asyncio.get_running_loop().call_later(_SUPERVISOR_ENDS_S, self._cut_off)
        try:
            await _to_the_end(self._end)
        finally:
            last_resort.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    def _ask_for_end(self) -> None:
        if not self._end.done() and not self._lifeline.is_closing():
            self._lifeline.write(b"end\n")

    def _cut_off(self) -> None:
        """End the supervisor itself, should it hang; the program's death signal follows."""
        if self._supervisor.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._supervisor.kill()

    async def _follow(self) -> Exit:
        """Read everything that the program says until it and its supervisor are gone."""
        pumps = [
            asyncio.create_task(self._pump_lines()),
            asyncio.create_task(self._pump_stderr()),
        ]
        try:
            ended = await self._answer()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SUPERVISOR_ENDS_S):
                    await asyncio.gather(*pumps)
                    await self._supervisor.wait()
        finally:
            for pump in pumps:
                pump.cancel()
            self._lifeline.close()
            self._lines.put_nowait(None)
            self._cut_off()
            if not self._begin.done():
                said = self._stderr.decode(errors="replace").strip()[-300:]
                self._begin.set_exception(InternalError(f"the sandbox did not start: {said}"))
        return self._judge(ended)

    async def _answer(self) -> _Ended:
        """The supervisor's last line; on the way, the first one."""
        ended = _Ended(status=None, reason="", peak_rss_bytes=0)
        with contextlib.suppress(ConnectionError):
            while line := await self._answers.readline():
                match msgspec.json.decode(line, type=_Started | _Ended):
                    case _Started() as begun:
                        self._begun = begun
                        self._begin.set_result(None)
                    case _Ended() as ended:
                        break
        return ended

    def _judge(self, ended: _Ended) -> Exit:
        stderr = self._stderr.decode(errors="replace")
        code = -signal.SIGKILL if ended.status is None else ended.status
        killed_from_outside = code == -signal.SIGKILL and not ended.reason
        refused = code != 0 and any(words in stderr for words in _NO_MEMORY_WORDS)
        plain = Exit(
            code=code,
            out_of_memory=ended.reason == "memory"
            or (not ended.reason and (killed_from_outside or refused)),
            timed_out=ended.reason == "time",
            stderr_tail=stderr,
            peak_rss_bytes=ended.peak_rss_bytes,
            reason=ended.reason,
        )
        if self._flooded:
            return replace(plain, reason="output")
        if code == -signal.SIGXFSZ:
            return replace(plain, reason="disk")
        return plain

    async def _pump_lines(self) -> None:
        stdout = self._supervisor.stdout
        if stdout is None:
            return
        total_bytes, rest = 0, b""
        while chunk := await stdout.read(65536):
            total_bytes += len(chunk)
            if total_bytes > MAX_OUTPUT_BYTES:
                self._flooded = True
                self._ask_for_end()
                continue
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                self._lines.put_nowait(line[:MAX_LINE_BYTES].decode(errors="replace"))
            rest = rest[:MAX_LINE_BYTES]
        if rest:
            self._lines.put_nowait(rest.decode(errors="replace"))

    async def _pump_stderr(self) -> None:
        stderr = self._supervisor.stderr
        if stderr is None:
            return
        total_bytes = 0
        while chunk := await stderr.read(65536):
            total_bytes += len(chunk)
            self._stderr = (self._stderr + chunk)[-STDERR_TAIL_BYTES:]
            if total_bytes > MAX_OUTPUT_BYTES:
                self._flooded = True
                self._ask_for_end()


async def _to_the_end(task: "asyncio.Task[Exit]") -> None:
    """Wait for ``task`` even when cancelled meanwhile; then deliver the cancellation."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
