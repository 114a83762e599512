"""An agent without phones that speaks the session's protocol over real gRPC."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import farm_samples as samples
import grpc

from distillfarm.domain.agent import Abandon, Ack, Assign, Heartbeat, Hello, JobResult, Welcome
from distillfarm.domain.hardware import DeviceInfo
from distillfarm.domain.job import Lease
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.session import FromAgent, FromController, at_agent, to_controller
from distillfarm.wire.transport import PLAINTEXT, ClientSecurity, create_channel
from distillfarm.wire.v1.services_pb2_grpc import SessionsStub

T = TypeVar("T")

_DEADLINE_S = 20.0


class SimulatedAgent:
    """One session; entered once the controller has welcomed it.

    With ``works`` it answers each assignment at once with a success; otherwise assignments wait in
    ``expect`` for the test to act. ``beats`` is whether it sends heartbeats.
    """

    def __init__(
        self,
        address: str,
        agent_id: str,
        infos: Sequence[DeviceInfo] = (),
        *,
        held: Sequence[Lease] = (),
        works: bool = False,
        beats: bool = True,
        security: ClientSecurity = PLAINTEXT,
        channel: grpc.aio.Channel | None = None,
        on_assign: Callable[[Assign], None] = lambda _assign: None,
    ) -> None:
        self._address = address
        self._own_channel = channel is None
        self._channel = channel or create_channel(address, security)
        self._hello = Hello(agent_id, "simulated", tuple(infos), tuple(held))
        self._works = works
        self._beats = beats
        self._on_assign = on_assign
        self._tasks: list[asyncio.Task[None]] = []
        self._writing = asyncio.Lock()
        self.held = {lease.job_id: lease for lease in held}
        self.inbox: asyncio.Queue[FromController | Exception] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._call = SessionsStub(self._channel).Session()  # type: ignore[call-arg]
        await self.send(self._hello)
        self._tasks.append(asyncio.create_task(self._read()))
        try:
            welcome = await self.expect(Welcome)
        except BaseException:
            await self.cut()
            raise
        if self._beats:
            self._tasks.append(asyncio.create_task(self._beat(welcome.heartbeat_s)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.cut()

    async def cut(self) -> None:
        """Break the connection, as a dying agent does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._call.cancel()
        if self._own_channel:
            await self._channel.close(None)

    async def send(self, message: FromAgent) -> None:
        """Say something to the controller; after a result the lease is held no more."""
        if isinstance(message, JobResult):
            self.held.pop(message.lease.job_id, None)
        # One at a time: gRPC refuses a second write that begins while one is under way.
        async with self._writing:
            with domain_errors(self._address):
                await self._call.write(to_controller(message))

    async def expect(self, kind: type[T]) -> T:
        """The next message, which must be of this kind; raises what ended the session."""
        async with asyncio.timeout(_DEADLINE_S):
            message = await self.inbox.get()
        if isinstance(message, Exception) and not issubclass(kind, Exception):
            raise message
        assert isinstance(message, kind), message
        return message

    async def finish(self, lease: Lease) -> None:
        """Send a success under ``lease``."""
        await self.send(samples.result(lease))

    async def _read(self) -> None:
        try:
            with domain_errors(self._address):
                async for message in self._call:
                    await self._take(at_agent(message))
        except Exception as error:  # noqa: BLE001 - handed to whoever expects a message
            self.inbox.put_nowait(error)

    async def _take(self, content: FromController) -> None:
        if isinstance(content, Assign):
            self.held[content.lease.job_id] = content.lease
            self._on_assign(content)
            if self._works:
                await self.send(JobResult(content.lease, samples.measurement(content.lease)))
                return
        if isinstance(content, Abandon):
            self.held.pop(content.lease.job_id, None)
        if isinstance(content, Ack):
            self.held.pop(content.lease.job_id, None)
            if self._works:
                return
        self.inbox.put_nowait(content)

    async def _beat(self, heartbeat_s: float) -> None:
        while True:
            await asyncio.sleep(heartbeat_s)
            await self.send(Heartbeat(tuple(self.held.values())))
