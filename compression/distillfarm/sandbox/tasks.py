"""Runs a task, a function named ``module:function``, in a sandboxed subprocess and waits for it."""

import asyncio
import contextlib
import os
import queue
import signal
import stat
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

import msgspec

from distillfarm.domain.errors import Cancelled, FarmError, InternalError
from distillfarm.sandbox import errors, wire
from distillfarm.sandbox.limits import GIB, Limits
from distillfarm.sandbox.process import Exit, Process, spawn
from distillfarm.sandbox.text import one_line

T = TypeVar("T")
_LOOK_FOR_CANCEL_S = 0.2
_EXCESSES = {"output": "printed without end", "processes": "started too many processes"}


def ignore_progress(fraction: float, text: str) -> None:
    """A ``report`` for callers that show none."""


def ignore_words(stderr: str) -> None:
    """A ``wrote`` for callers that keep none."""


def never_cancelled() -> bool:
    """A ``cancelled`` for callers that never cancel."""
    return False


def run(
    task: str,
    request: object,
    result_type: type[T],
    *,
    limits: Limits,
    folder: Path,
    report: Callable[[float, str], None] = ignore_progress,
    cancelled: Callable[[], bool] = never_cancelled,
    environment: Mapping[str, str] | None = None,
    writable: Sequence[Path] = (),
    wrote: Callable[[str], None] = ignore_words,
) -> T:
    """Call ``module:function(request, report) -> result`` in a subprocess of its own.

    ``request`` and the result cross as JSON (msgspec); files cross by their paths in them. The
    task may write in ``folder`` and ``writable`` only. ``report`` and ``cancelled`` are called in
    this thread; once ``cancelled`` gives True the task is killed. ``wrote`` is given the last 8 KiB
    of the standard error of a task that ended, however it did.

    Raises:
        FarmError: the very class that the task raised.
        TaskDied: it crashed, or passed its limit of memory, time or disk (a subclass for each).
        Cancelled: ``cancelled`` said so; nothing runs any more.
        InternalError: the task has a defect.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / wire.REQUEST_FILE).write_bytes(msgspec.json.encode(request))
    (folder / wire.ANSWER_FILE).unlink(missing_ok=True)
    argv = [sys.executable, "-P", "-m", "distillfarm.sandbox.child", task]
    given = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})}
    follower = _Follower()
    end = follower.follow(
        spawn(argv, limits=limits, folder=folder, environment=given, writable=writable),
        report,
        cancelled,
    )
    if end is None:
        raise Cancelled(f"{task} was cancelled")
    wrote(end.stderr_tail)
    return _result(task, end, folder, limits, result_type)


class _Follower:
    """Follows a program from an event loop in a thread of its own.

    The caller's callbacks may themselves start event loops or refuse to run inside one, so they
    are called in the caller's thread.
    """

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    def follow(
        self,
        starting: Coroutine[None, None, Process],
        report: Callable[[float, str], None],
        cancelled: Callable[[], bool],
    ) -> Exit | None:
        """Wait for the end; None after a cancellation. Nothing is left running either way."""
        with ThreadPoolExecutor(1, "sandbox-task") as thread:
            work = thread.submit(self._loop.run_until_complete, self._run(starting))
            try:
                while not cancelled():
                    with contextlib.suppress(queue.Empty):
                        line = self._lines.get(timeout=_LOOK_FOR_CANCEL_S)
                        if line is None:
                            return work.result()
                        _pass_on(line, report)
            finally:
                self._loop.call_soon_threadsafe(self._stop.set)
                wait([work])
                self._loop.close()
        return None

    async def _run(self, starting: Coroutine[None, None, Process]) -> Exit | None:
        stop = asyncio.create_task(self._stop.wait())
        try:
            async with await starting as process:
                end = asyncio.create_task(self._read(process))
                await asyncio.wait({end, stop}, return_when=asyncio.FIRST_COMPLETED)
                await process.kill()
                return await end
        finally:
            stop.cancel()
            self._lines.put(None)

    async def _read(self, process: Process) -> Exit:
        async for line in process.lines():
            self._lines.put(line)
        return await process.wait()


def _pass_on(line: str, report: Callable[[float, str], None]) -> None:
    # The task may be in hostile hands: what is no progress is nothing.
    with contextlib.suppress(msgspec.MsgspecError):
        progress = msgspec.json.decode(line, type=wire.Progress)
        report(min(1.0, max(0.0, progress.fraction)), one_line(progress.text))


def _result(task: str, end: Exit, folder: Path, limits: Limits, result_type: type[T]) -> T:
    answer = _answer(folder / wire.ANSWER_FILE) if end.code == 0 and not end.reason else None
    match answer:
        case wire.Done(result):
            try:
                return msgspec.json.decode(result, type=result_type)
            except msgspec.MsgspecError as error:
                raise InternalError(f"{task}: its result is not {result_type}: {error}") from error
        case wire.Failed() as failed:
            raise wire.revive(failed)
        case wire.NoMemory():
            raise _no_memory(limits)
        case wire.NoDisk():
            raise _no_disk(limits)
    raise _death(task, end, limits)


def _answer(path: Path) -> wire.Answer | None:
    """The answer file, if there is a sound one; the task may have put anything in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = file.read(wire.MAX_ANSWER_BYTES + 1)
    if len(content) > wire.MAX_ANSWER_BYTES:
        return None
    try:
        answer: wire.Answer = msgspec.json.decode(content, type=wire.Answer)
    except msgspec.MsgspecError:
        return None
    return answer


def _death(task: str, end: Exit, limits: Limits) -> FarmError:
    """The error for a task that ended without an answer."""
    if end.out_of_memory:
        return _no_memory(limits)
    if end.timed_out:
        return errors.TaskOutOfTime(f"not finished after {limits.wall_s:g} s, the limit")
    if end.reason == "disk":
        return _no_disk(limits)
    if end.reason in _EXCESSES:
        return errors.TaskCrashed(f"ended: it {_EXCESSES[end.reason]}")
    if end.code < 0:
        name = signal.Signals(-end.code).name
        return errors.TaskCrashed(f"crashed with {name} ({signal.strsignal(-end.code)})")
    said = one_line((end.stderr_tail.strip().splitlines() or ["no word"])[-1])
    return InternalError(f"{task} ended with code {end.code}: {said}")


def _no_memory(limits: Limits) -> FarmError:
    gib = limits.memory_bytes / GIB
    return errors.TaskOutOfMemory(f"needs more memory than the limit of {gib:.3g} GiB")


def _no_disk(limits: Limits) -> FarmError:
    gib = limits.disk_bytes / GIB
    return errors.TaskOutOfDisk(f"writes more than the limit of {gib:.3g} GiB, or the disk is full")
