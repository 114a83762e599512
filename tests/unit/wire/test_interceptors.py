"""Every kind of call passes errors, request ids and authentication."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from distillfarm.domain.errors import NotFound, Unauthenticated, Unavailable
from distillfarm.wire.interceptors import (
    Authentication,
    Caller,
    ErrorsAndRequestIds,
    caller,
    domain_errors,
)
from distillfarm.wire.transport import ClientSecurity, create_channel
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import (
    BlobsServicer,
    BlobsStub,
    SessionsServicer,
    SessionsStub,
    add_BlobsServicer_to_server,
    add_SessionsServicer_to_server,
)


class Everything(BlobsServicer, SessionsServicer):
    """All four kinds of call; each raises where it is told to, after a first reply."""

    def __init__(self) -> None:
        self.callers: list[Caller | None] = []
        self.closed = asyncio.Event()

    async def StatBlob(self, request: pb.StatBlobRequest, context: Any) -> pb.BlobStat:
        self.callers.append(caller())
        if request.digest == "wait":
            await asyncio.Event().wait()
        raise NotFound("stat")

    async def UploadBlob(
        self, request_iterator: AsyncIterator[pb.BlobChunk], context: Any
    ) -> pb.BlobStat:
        async for _ in request_iterator:
            raise NotFound("upload")
        return pb.BlobStat()

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, context: Any
    ) -> AsyncIterator[pb.BlobChunk]:
        try:
            yield pb.BlobChunk(data=b"first")
            if request.digest == "wait":
                await asyncio.Event().wait()
            raise NotFound("download")
        finally:
            self.closed.set()

    async def Session(
        self, request_iterator: AsyncIterator[pb.AgentMessage], context: Any
    ) -> AsyncIterator[pb.ControllerMessage]:
        self.callers.append(caller())
        async for _ in request_iterator:
            yield pb.ControllerMessage()
            raise NotFound("session")


@pytest.fixture
def everything() -> Everything:
    return Everything()


def adding(servicer: Everything) -> Any:
    def add(server: grpc.aio.Server) -> None:
        add_BlobsServicer_to_server(servicer, server)
        add_SessionsServicer_to_server(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(
            health.aio.HealthServicer(),  # type: ignore[attr-defined]
            server,
        )

    return add


async def test_every_kind_of_call_tells_its_error(serve: Any, everything: Everything) -> None:
    address = await serve(adding(everything))
    async with create_channel(address) as channel:
        blobs, sessions = BlobsStub(channel), SessionsStub(channel)
        with pytest.raises(NotFound, match="stat"), domain_errors(address):
            await blobs.StatBlob(pb.StatBlobRequest(), timeout=10)
        with pytest.raises(NotFound, match="upload"), domain_errors(address):
            await blobs.UploadBlob(iter([pb.BlobChunk()]), timeout=10)
        download = blobs.DownloadBlob(pb.DownloadBlobRequest(), timeout=10)
        assert await download.read() == pb.BlobChunk(data=b"first")
        with pytest.raises(NotFound, match="download"), domain_errors(address):
            await download.read()
        session = sessions.Session(iter([pb.AgentMessage()]), timeout=10)
        assert await session.read() == pb.ControllerMessage()
        with pytest.raises(NotFound, match="session"), domain_errors(address):
            await session.read()


async def test_a_cancelled_stream_is_cleaned_up_at_once(serve: Any, everything: Everything) -> None:
    address = await serve(adding(everything))
    async with create_channel(address) as channel:
        call = BlobsStub(channel).DownloadBlob(pb.DownloadBlobRequest(digest="wait"))
        assert await call.read() == pb.BlobChunk(data=b"first")
        assert not everything.closed.is_set()
        call.cancel()
        await asyncio.wait_for(everything.closed.wait(), 5)


async def request_id_told(address: str, given: str | None) -> str:
    metadata = (("x-request-id", given),) if given is not None else ()
    async with create_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await BlobsStub(channel).StatBlob(pb.StatBlobRequest(), timeout=10, metadata=metadata)
    trailing: Any = caught.value.trailing_metadata()
    info = error_details_pb2.RequestInfo()
    status = status_pb2.Status.FromString(dict(trailing)["grpc-status-details-bin"])
    assert status.details[1].Unpack(info)
    return str(info.request_id)


async def test_the_callers_request_id_is_kept_and_logged(
    serve: Any, everything: Everything
) -> None:
    address = await serve(adding(everything))
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        assert await request_id_told(address, "pipeline-42") == "pipeline-42"
    assert [entry["request_id"] for entry in logs] == ["pipeline-42"]


@pytest.mark.parametrize("given", [None, "", "x" * 65])
async def test_a_call_without_a_usable_request_id_is_given_one(
    serve: Any, everything: Everything, given: str | None
) -> None:
    address = await serve(adding(everything))
    first, second = await request_id_told(address, given), await request_id_told(address, given)
    assert first.startswith("request-")
    assert first != second


SECRET = "right"  # noqa: S105


def authenticate(secret: str) -> tuple[str, str] | None:
    return ("lab-host-3", "agent") if secret == SECRET else None


async def test_the_right_secret_is_admitted_and_its_owner_known(
    serve: Any, everything: Everything
) -> None:
    address = await serve(adding(everything), authenticate=authenticate)
    async with create_channel(address, ClientSecurity(credential="right")) as channel:
        with pytest.raises(NotFound), domain_errors(address):
            await BlobsStub(channel).StatBlob(pb.StatBlobRequest(), timeout=10)
        session = SessionsStub(channel).Session(iter([pb.AgentMessage()]), timeout=10)
        assert await session.read() == pb.ControllerMessage()
    assert everything.callers == [Caller("lab-host-3", "agent")] * 2


@pytest.mark.parametrize(
    ("credential", "complaint"), [("", "needs a credential"), ("wrong", "unknown or was revoked")]
)
async def test_every_kind_of_call_needs_a_known_secret(
    serve: Any, everything: Everything, credential: str, complaint: str
) -> None:
    address = await serve(adding(everything), authenticate=authenticate)
    async with create_channel(address, ClientSecurity(credential=credential)) as channel:
        blobs, sessions = BlobsStub(channel), SessionsStub(channel)
        with pytest.raises(Unauthenticated, match=complaint), domain_errors(address):
            await blobs.StatBlob(pb.StatBlobRequest(), timeout=10)
        with pytest.raises(Unauthenticated, match=complaint), domain_errors(address):
            await blobs.UploadBlob(iter([pb.BlobChunk()]), timeout=10)
        with pytest.raises(Unauthenticated, match=complaint), domain_errors(address):
            await blobs.DownloadBlob(pb.DownloadBlobRequest(), timeout=10).read()
        with pytest.raises(Unauthenticated, match=complaint), domain_errors(address):
            await sessions.Session(iter([pb.AgentMessage()]), timeout=10).read()
    assert everything.callers == []


@pytest.mark.parametrize("given", ["right", "Basic right", "Bearer", "Bearer wrong right"])
async def test_a_malformed_credential_is_none(
    serve: Any, everything: Everything, given: str
) -> None:
    address = await serve(adding(everything), authenticate=authenticate)
    async with create_channel(address) as channel:
        with pytest.raises(Unauthenticated), domain_errors(address):
            await BlobsStub(channel).StatBlob(
                pb.StatBlobRequest(), timeout=10, metadata=(("authorization", given),)
            )


async def test_open_methods_and_services_need_no_credential(
    serve: Any, everything: Everything
) -> None:
    address = await serve(
        adding(everything),
        authenticate=authenticate,
        open_methods=("/distillfarm.v1.Blobs/StatBlob", "/grpc.health.v1.Health/"),
    )
    async with create_channel(address) as channel:
        with pytest.raises(NotFound), domain_errors(address):
            await BlobsStub(channel).StatBlob(pb.StatBlobRequest(), timeout=10)
        with pytest.raises(Unauthenticated), domain_errors(address):
            await BlobsStub(channel).UploadBlob(iter([pb.BlobChunk()]), timeout=10)
        stub = health_pb2_grpc.HealthStub(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert everything.callers == [None]


async def test_services_that_abort_or_write_themselves_keep_working(
    serve: Any, everything: Everything
) -> None:
    address = await serve(adding(everything))
    async with create_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(NotFound), domain_errors(address):
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=10)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_a_unary_call_without_a_deadline_is_ended(everything: Everything) -> None:
    server = grpc.aio.server(interceptors=[ErrorsAndRequestIds(unary_timeout_s=0.1)])
    adding(everything)(server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with create_channel(address) as channel:
            too_slow = pytest.raises(Unavailable, match=r"took longer than 0\.1 s")
            with too_slow, domain_errors(address):
                await BlobsStub(channel).StatBlob(pb.StatBlobRequest(digest="wait"))
            call = BlobsStub(channel).DownloadBlob(pb.DownloadBlobRequest(digest="wait"))
            assert await call.read() == pb.BlobChunk(data=b"first")
            await asyncio.sleep(0.3)
            assert not call.done()
            call.cancel()
    finally:
        await server.stop(0)


async def test_looking_a_secret_up_does_not_hold_up_other_calls(everything: Everything) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(secret: str) -> tuple[str, str]:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(answer.wait(), loop).result(10)
        return ("user", "user")

    server = grpc.aio.server(interceptors=[ErrorsAndRequestIds(), Authentication(slow)])
    adding(everything)(server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with create_channel(address, ClientSecurity(credential="x")) as channel:
            call = BlobsStub(channel).StatBlob(pb.StatBlobRequest(), timeout=10)
            await asyncio.wait_for(asked.wait(), 5)
            answer.set()  # Reached only because the loop is free.
            with pytest.raises(NotFound), domain_errors(address):
                await call
    finally:
        await server.stop(0)
