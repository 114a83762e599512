"""The connection to the controller: dialled out, kept alive, dialled again for ever."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import grpc
import structlog

from distillfarm.agent.jobs import Jobs
from distillfarm.domain.agent import (
    Abandon,
    Ack,
    Assign,
    HealthReport,
    Heartbeat,
    Hello,
    Inventory,
    JobProgress,
    JobResult,
    Welcome,
)
from distillfarm.domain.errors import (
    FarmError,
    InvalidRequest,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from distillfarm.domain.hardware import DeviceInfo
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.session import FromAgent, at_agent, to_controller
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import SessionsStub

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_WELCOME_S = 30.0
# Dialling again would change nothing before a person did something.
_HOPELESS = (InvalidRequest, PermissionDenied, Unauthenticated)

_log = structlog.get_logger(__name__)


class Session:
    """Speaks for one agent; jobs run on whether the controller is there or not.

    What is sent while nobody listens is lost by design: devices are told again in the next hello,
    results come from the spool, progress is of the moment.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        agent_id: str,
        version: str,
        devices: Callable[[], tuple[DeviceInfo, ...]],
    ) -> None:
        self._channel = channel
        self._address = address
        self._agent_id = agent_id
        self._version = version
        self._devices = devices
        self._outbox: asyncio.Queue[FromAgent] | None = None

    def send(self, content: HealthReport | JobProgress | JobResult) -> None:
        """Tell the controller if it listens now."""
        if self._outbox is not None:
            self._outbox.put_nowait(content)

    def devices_changed(self) -> None:
        """Tell the controller what is attached now, if it listens."""
        if self._outbox is not None:
            self._outbox.put_nowait(Inventory(self._devices()))

    async def run(self, jobs: Jobs) -> None:
        """Keep a session open until cancelled.

        Raises:
            Unauthenticated: the controller does not know the credential.
            PermissionDenied: it knows the credential as another's.
            InvalidRequest: the two sides do not understand each other.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._converse(jobs)
            except _HOPELESS:
                raise
            except FarmError as error:
                # INTERNAL too: gRPC tells so of a stream that ended under a message being sent.
                _log.warning("no session, dialling again", controller=self._address, why=str(error))
            if asyncio.get_running_loop().time() - started > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            # By chance, so that the agents of a restarted controller do not come all at once.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _converse(self, jobs: Jobs) -> None:
        outbox: asyncio.Queue[FromAgent] = asyncio.Queue()
        outbox.put_nowait(Hello(self._agent_id, self._version, self._devices(), held=jobs.held()))
        with domain_errors(self._address):
            call = SessionsStub(self._channel).Session(_outgoing(outbox))
            try:
                async with asyncio.timeout(_WELCOME_S):
                    welcome = await _read(call)
                if not isinstance(welcome, Welcome):
                    raise InvalidRequest(
                        f"{self._address} answered hello with {type(welcome).__name__}; "
                        "is it a controller of this version?"
                    )
                _log.info("session is open", controller=self._address)
                self._outbox = outbox
                # What changed between the hello and now.
                outbox.put_nowait(Inventory(self._devices()))
                for result in jobs.unsent():
                    outbox.put_nowait(result)
                await self._exchange(call, jobs, outbox, welcome.heartbeat_s)
            except TimeoutError as error:
                raise Unavailable(f"{self._address} did not answer hello; is it stuck?") from error
            finally:
                self._outbox = None
                call.cancel()

    async def _exchange(
        self,
        call: "grpc.aio.StreamStreamCall[pb.AgentMessage, pb.ControllerMessage]",
        jobs: Jobs,
        outbox: asyncio.Queue[FromAgent],
        heartbeat_s: float,
    ) -> None:
        heart = asyncio.create_task(_beat(jobs, outbox, heartbeat_s))
        try:
            while True:
                content = await _read(call)
                match content:
                    case Assign():
                        jobs.start(content)
                    case Abandon(lease, reason):
                        _log.info("job abandoned", job=lease.job_id, reason=reason)
                        await jobs.abandon(lease)
                    case Ack(lease):
                        jobs.acknowledge(lease)
                    case Welcome():
                        raise InvalidRequest(f"{self._address} said welcome twice")
        finally:
            heart.cancel()
            await asyncio.wait([heart])


async def _beat(jobs: Jobs, outbox: asyncio.Queue[FromAgent], heartbeat_s: float) -> None:
    while True:
        await asyncio.sleep(heartbeat_s)
        outbox.put_nowait(Heartbeat(jobs.held()))


async def _outgoing(outbox: asyncio.Queue[FromAgent]) -> AsyncIterator[pb.AgentMessage]:
    while True:
        yield to_controller(await outbox.get())


async def _read(
    call: "grpc.aio.StreamStreamCall[pb.AgentMessage, pb.ControllerMessage]",
) -> Welcome | Assign | Abandon | Ack:
    message = await call.read()
    if not isinstance(message, pb.ControllerMessage):
        raise Unavailable("the controller ended the session; is it restarting?")
    return at_agent(message)
