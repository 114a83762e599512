"""The agent's way to one iPhone: questions to its worker, which is started, watched and replaced.

Every question has a deadline of its own in the worker and a later one here, after which the worker
is held for hung and killed. What a failure means is found by asking usbmuxd, see ``faults``.
"""

import asyncio
import contextlib
import itertools
import signal
import sys
from collections.abc import Sequence
from typing import TypeVar, cast

import msgspec
import structlog

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.ios import faults, usbmux
from distillfarm.agent.drivers.ios.protocol import (
    LONGEST_LINE_BYTES,
    AnyQuestion,
    Asked,
    Failed,
    Identify,
    Identity,
    Pair,
    PairSupervised,
    Question,
    Reply,
    Supervisor,
)
from distillfarm.agent.drivers.ios.usbmux import NoUsbmuxd
from distillfarm.domain.errors import Blame

PROGRAM = (sys.executable, "-m", "distillfarm.agent.drivers.ios.worker")
ANSWER_S = 20.0
# A worker that has not even said that it is too late hangs.
_SLACK_S = 10.0
_PAUSE_S = 1.0
_MOST_TRIES = 3
_END_S = 5.0

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


class PhoneLine:
    """The line to one iPhone; ``patience_s`` is how long it may be away before that is a fault.

    ``before`` is who it was at the last ``settle``. ``supervisor`` is asked for trust first, where
    there is one.
    """

    def __init__(
        self,
        udid: str,
        where: str,
        *,
        patience_s: float = 60.0,
        supervisor: Supervisor | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.udid = udid
        self.before: Identity | None = None
        self._where = where
        self._patience_s = patience_s
        self._supervisor = supervisor
        self._program = program
        self._lost: PhoneFault | None = None
        self._worker: _Worker | None = None
        self._starting = asyncio.Lock()

    async def ask(self, question: Question[_T], timeout_s: float = ANSWER_S) -> _T:
        """The answer; what may be repeated is, once a phone that was lost is back.

        Raises:
            PhoneFault: the phone did not come back, or needs a person; at once where it was given
                up before, until ``settle``.
        """
        for tries in itertools.count(1):
            if self._lost is not None:
                raise self._lost
            try:
                return await self.ask_once(question, timeout_s)
            except PhoneFault as error:
                if (
                    error.blame is Blame.PHONE
                    or error.fault is faults.NO_EXTRA
                    or not question.repeatable
                    or tries >= _MOST_TRIES
                ):
                    raise
                _log.info("asking again", device=self.udid, reason=str(error))
                await self.back(error)
        raise AssertionError("unreachable")

    async def ask_once(self, question: Question[_T], timeout_s: float = ANSWER_S) -> _T:
        """The answer, or why there is none.

        Raises:
            PhoneFault: see ``faults``.
        """
        worker = await self._running()
        try:
            async with asyncio.timeout(timeout_s + _SLACK_S):
                reply = await worker.ask(question, timeout_s)
        except TimeoutError as error:
            await worker.kill()
            raise await self._fault("TimeoutError", "its worker hung and was ended") from error
        if isinstance(reply, Failed):
            raise await self._fault(reply.kind, reply.words)
        answer: _T = msgspec.json.decode(reply.answer, type=question.answer)
        return answer

    async def settle(self) -> Identity:
        """Wait until the phone answers, and take who it is now for who it is to stay.

        Raises:
            PhoneFault: it does not answer within the patience, or does not trust this computer.
        """
        self._lost = None
        self.before = await self.back(None)
        return self.before

    async def back(self, lost: PhoneFault | None) -> Identity:
        """Wait until the phone is there and trusts this computer; who it is.

        Raises:
            PhoneFault: it does not come back within the patience, or needs a person; at once where
                it was given up before.
        """
        if self._lost is not None:
            raise self._lost
        clock = asyncio.get_running_loop().time
        began_s = clock()
        while True:
            try:
                identity = await self.ask_once(Identify())
            except PhoneFault as error:
                final = error.blame is Blame.PHONE or error.fault is faults.NO_EXTRA
                if not final and clock() - began_s >= self._patience_s:
                    # Whatever is left to do on it would only wait as long again.
                    self._lost = error
                if final or self._lost is error:
                    raise error from lost
                await asyncio.sleep(_PAUSE_S)
                continue
            self._lost = None
            return identity if identity.paired else await self._pair()

    async def close(self) -> None:
        """End the worker; idempotent."""
        worker, self._worker, self._lost = self._worker, None, None
        if worker is not None:
            await worker.close()

    async def _pair(self) -> Identity:
        """Have the phone ask for trust; it has it at once only where nobody has to tap."""
        if self._supervisor is not None and await self._supervised(self._supervisor):
            return await self.ask_once(Identify())
        await self.ask_once(Pair())
        identity = await self.ask_once(Identify())
        if not identity.paired:
            raise PhoneFault(self.udid, faults.UNTRUSTED, "it waits for a tap on Trust")
        return identity

    async def _supervised(self, supervisor: Supervisor) -> bool:
        """Whether the phone trusts this computer by its supervisor; false where it has another."""
        try:
            await self.ask_once(PairSupervised(supervisor))
        except PhoneFault as error:
            if error.fault is not faults.UNKNOWN:
                raise
            _log.warning("not supervised by this identity", device=self.udid, reason=str(error))
            return False
        return (await self.ask_once(Identify())).paired

    async def _running(self) -> "_Worker":
        async with self._starting:
            if self._worker is None or self._worker.gone:
                if self._worker is not None:
                    await self._worker.close()
                self._worker = await _Worker.start(self._program, self.udid)
            return self._worker

    async def _fault(self, kind: str, words: str) -> PhoneFault:
        fault = faults.classify(kind, words, await self._listed())
        return PhoneFault(self.udid, fault, f"{kind}: {words}" if words else kind)

    async def _listed(self) -> bool | None:
        try:
            return any(each.udid == self.udid for each in await usbmux.listed(self._where))
        except NoUsbmuxd:
            return None


class _Worker:
    """A running worker and the questions that it has not answered yet."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.gone = False
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._last_words = b""
        self._tasks = (
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._overhear()),
        )

    @classmethod
    async def start(cls, program: Sequence[str], udid: str) -> "_Worker":
        process = await asyncio.create_subprocess_exec(
            *program,
            udid,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE_BYTES,
        )
        return cls(process)

    async def ask(self, question: Question[_T], timeout_s: float) -> Reply:
        """Its reply; a worker that ends meanwhile has failed, in its last words."""
        number = next(self._numbers)
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            if self.gone:
                return self._lost(number)
            asked = Asked(number, timeout_s, cast(AnyQuestion, question))
            self._input.write(msgspec.json.encode(asked) + b"\n")
            with contextlib.suppress(ConnectionError):
                # Whatever breaks the pipe also ends what is listened to.
                await self._input.drain()
            reply: Reply = await waiting
            return reply
        finally:
            del self._waiting[number]

    async def kill(self) -> None:
        """End it at once."""
        self.gone = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def close(self) -> None:
        """Let it hang up and end; idempotent."""
        self.gone = True
        self._input.close()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    @property
    def _input(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None  # noqa: S101 - a pipe, as was asked for
        return self._process.stdin

    async def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe, as was asked for
        try:
            while line := await self._process.stdout.readline():
                reply = msgspec.json.decode(line, type=Reply)
                waiting = self._waiting.get(reply.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        finally:
            self.gone = True
            # Its last words may still be on their way.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self._tasks[1]], timeout=1.0)
            for number, waiting in self._waiting.items():
                if not waiting.done():
                    waiting.set_result(self._lost(number))

    async def _overhear(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - a pipe, as was asked for
        while piece := await self._process.stderr.read(2**16):
            self._last_words = (self._last_words + piece)[-4096:]

    def _lost(self, number: int) -> Failed:
        words = self._last_words.decode(errors="replace").strip().rpartition("\n")[2]
        if words.startswith(faults.MISSING):
            return Failed(number, faults.MISSING, words)
        return Failed(number, faults.WORKER_ENDED, words)
