"""A controller that speaks real gRPC and says only what a test tells it to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from distillfarm.domain.agent import Hello, Welcome
from distillfarm.domain.errors import Unauthenticated
from distillfarm.domain.ids import fresh_id
from distillfarm.wire.blobs import LocalBlobs, service
from distillfarm.wire.session import FromAgent, FromController, at_controller, to_agent
from distillfarm.wire.transport import create_server
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import (
    BlobsServicer,
    EnrolmentServicer,
    SessionsServicer,
    add_BlobsServicer_to_server,
    add_EnrolmentServicer_to_server,
    add_SessionsServicer_to_server,
)

TOKEN = "token-1"  # noqa: S105


class StandInController(SessionsServicer, EnrolmentServicer):
    """Hears everything and says what the test puts into ``say``; ``hang_up`` ends the stream.

    Whoever enrols with ``TOKEN`` gets a new credential; ``credentials`` are the ones it knows.
    """

    def __init__(self) -> None:
        self.say: asyncio.Queue[FromController | None] = asyncio.Queue()
        self.refuse = False
        self.credentials: dict[str, str] = {}
        self._heard: list[FromAgent] = []
        self._news = asyncio.Event()

    async def Enrol(self, request: pb.EnrolRequest, _context: Any) -> pb.EnrolReply:
        if request.token != TOKEN:
            raise Unauthenticated("this token is not known")
        credential = fresh_id("credential")
        self.credentials[credential] = request.agent_id
        return pb.EnrolReply(credential=credential)

    def authenticate(self, credential: str) -> tuple[str, str] | None:
        known = self.credentials.get(credential)
        return (known, "agent") if known else None

    async def Session(self, requests: Any, _context: Any) -> AsyncIterator[Any]:
        if self.refuse:
            raise Unauthenticated("who are you?")
        yield to_agent(Welcome(heartbeat_s=0.05, lease_s=1.0))
        listening = asyncio.create_task(self._listen(requests))
        try:
            while (content := await self._next(listening)) is not None:
                yield to_agent(content)
        finally:
            listening.cancel()

    async def hear(self, kind: type[Any]) -> Any:
        """The first message of a kind since the last hello, which is then forgotten."""
        async with asyncio.timeout(20):
            while True:
                for each in self._heard:
                    if isinstance(each, kind):
                        self._heard.remove(each)
                        return each
                self._news.clear()
                await self._news.wait()

    def hang_up(self) -> None:
        self.say.put_nowait(None)

    async def _listen(self, requests: Any) -> None:
        async for message in requests:
            content = at_controller(message)
            if isinstance(content, Hello):
                self._heard.clear()
            self._heard.append(content)
            self._news.set()

    async def _next(self, listening: "asyncio.Task[None]") -> FromController | None:
        """What to say next; None when it is time to hang up, or nobody is there any more."""
        getting = asyncio.create_task(self.say.get())
        try:
            await asyncio.wait([getting, listening], return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            # Also when the call is cancelled: the word is for the agent that dials in next.
            getting.cancel()


class StandInBlobs(BlobsServicer):
    """Gives out what lies in ``store``."""

    def __init__(self, store: LocalBlobs) -> None:
        self._store = store

    async def StatBlob(self, request: pb.StatBlobRequest, _context: Any) -> pb.BlobStat:
        return await service.stat(self._store, request)

    async def UploadBlob(self, requests: AsyncIterator[pb.BlobChunk], _context: Any) -> pb.BlobStat:
        return await service.receive(self._store, requests)

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, _context: Any
    ) -> AsyncIterator[pb.BlobChunk]:
        async for chunk in service.send(self._store, request):
            yield chunk


@contextlib.asynccontextmanager
async def serving(
    controller: StandInController,
    store: LocalBlobs,
    address: str = "127.0.0.1:0",
    enrolled_only: bool = False,
) -> AsyncIterator[str]:
    """Serve until left; gives the address, to come back there after a "restart"."""
    server, bound = create_server(
        address,
        authenticate=controller.authenticate if enrolled_only else None,
        open_methods=("/distillfarm.v1.Enrolment/Enrol",),
    )
    add_SessionsServicer_to_server(controller, server)
    add_EnrolmentServicer_to_server(controller, server)
    add_BlobsServicer_to_server(StandInBlobs(store), server)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)
