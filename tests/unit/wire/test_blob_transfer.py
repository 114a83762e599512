"""Blobs travel over real gRPC, torn and resumed, and arrive right or not at all."""

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import pytest

from distillfarm.domain.errors import (
    DigestMismatch,
    InternalError,
    InvalidRequest,
    NoCapacity,
    NotFound,
    Unavailable,
)
from distillfarm.domain.ids import digest_bytes
from distillfarm.wire.blobs import LocalBlobs, RemoteBlobs, download_blob, upload_blob
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.transport import create_channel
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import BlobsStub

DATA = os.urandom(9 * 2**20 + 17)
DIGEST = digest_bytes(DATA)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(DATA)
    return path


class Torn(LocalBlobs):
    """A store that goes away for a moment at each of some offsets, and counts what it is sent."""

    def __init__(self, root: Path, *offsets: int) -> None:
        super().__init__(root)
        self.offsets = list(offsets)
        self.sent_bytes = 0

    def append(self, digest: str, size: int, offset: int, data: bytes) -> None:
        if self.offsets and offset + len(data) > self.offsets[0]:
            raise Unavailable(f"torn at {self.offsets.pop(0)}")
        self.sent_bytes += len(data)
        super().append(digest, size, offset, data)


async def test_a_file_goes_there_and_comes_back(
    serve_blobs: Any, source: Path, tmp_path: Path
) -> None:
    there, here = LocalBlobs(tmp_path / "there"), LocalBlobs(tmp_path / "here")
    address = await serve_blobs(there)
    async with create_channel(address) as channel:
        assert await upload_blob(channel, source) == DIGEST
        assert there.path(DIGEST).read_bytes() == DATA
        await download_blob(channel, DIGEST, here)
    assert here.path(DIGEST).read_bytes() == DATA


async def test_an_empty_file_travels(serve_blobs: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    here = LocalBlobs(tmp_path / "here")
    address = await serve_blobs(LocalBlobs(tmp_path / "there"))
    async with create_channel(address) as channel:
        digest = await upload_blob(channel, empty)
        await download_blob(channel, digest, here)
    assert here.path(digest).read_bytes() == b""


async def test_a_file_that_is_there_is_not_sent_again(
    serve_blobs: Any, source: Path, tmp_path: Path
) -> None:
    there = Torn(tmp_path / "there")
    address = await serve_blobs(there)
    async with create_channel(address) as channel:
        await upload_blob(channel, source)
        await upload_blob(channel, source)
    assert there.sent_bytes == len(DATA)


async def test_a_torn_upload_resumes_by_itself(
    serve_blobs: Any, source: Path, tmp_path: Path
) -> None:
    there = Torn(tmp_path / "there", 5 * 2**20, 9 * 2**20)
    address = await serve_blobs(there)
    async with create_channel(address) as channel:
        await upload_blob(channel, source)
    assert there.offsets == []
    assert there.path(DIGEST).read_bytes() == DATA
    assert there.sent_bytes == len(DATA)


async def test_a_torn_download_resumes_by_itself(
    serve_blobs: Any, source: Path, tmp_path: Path
) -> None:
    there, here = LocalBlobs(tmp_path / "there"), Torn(tmp_path / "here", 5 * 2**20, 9 * 2**20)
    there.put_file(source)
    address = await serve_blobs(there)
    async with create_channel(address) as channel:
        await download_blob(channel, DIGEST, here)
    assert here.offsets == []
    assert here.path(DIGEST).read_bytes() == DATA
    assert here.sent_bytes == len(DATA)


async def test_a_cut_connection_leaves_what_came(
    serve_blobs: Any, source: Path, tmp_path: Path
) -> None:
    there = LocalBlobs(tmp_path / "there")
    address = await serve_blobs(there)
    block, waiting = 4 * 2**20, asyncio.Event()

    async def half() -> Any:
        yield pb.BlobChunk(digest=DIGEST, size_bytes=len(DATA), data=DATA[:block])
        yield pb.BlobChunk(data=DATA[block : 2 * block])
        waiting.set()
        await asyncio.Event().wait()

    async with create_channel(address) as channel:
        call = BlobsStub(channel).UploadBlob(half())
        await waiting.wait()
        for _ in range(100):
            if (await asyncio.to_thread(there.stat, DIGEST))[1] >= block:
                break
            await asyncio.sleep(0.05)
        call.cancel()
        size, received = there.stat(DIGEST)
        assert size == len(DATA)
        assert block <= received <= 2 * block
        assert await upload_blob(channel, source) == DIGEST
    assert there.path(DIGEST).read_bytes() == DATA


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def send(address: str, *chunks: pb.BlobChunk) -> pb.BlobStat:
    async with create_channel(address) as channel:
        with domain_errors(address):
            return await BlobsStub(channel).UploadBlob(iter(chunks), timeout=10)


async def test_flipped_bytes_are_refused(serve_blobs: Any, tmp_path: Path) -> None:
    there = LocalBlobs(tmp_path / "there")
    address = await serve_blobs(there)
    flipped = b"?" + DATA[1:]
    with pytest.raises(DigestMismatch, match=DIGEST):
        await send(address, pb.BlobChunk(digest=DIGEST, size_bytes=len(DATA), data=flipped))
    assert not there.has(DIGEST)


async def test_a_lie_about_the_size_is_refused(serve_blobs: Any, tmp_path: Path) -> None:
    there = LocalBlobs(tmp_path / "there")
    address = await serve_blobs(there)
    with pytest.raises(InvalidRequest, match="do not fit in the 10 announced"):
        await send(
            address,
            pb.BlobChunk(digest=DIGEST, size_bytes=10, data=DATA[:5]),
            pb.BlobChunk(data=DATA[5:20]),
        )
    with pytest.raises(NoCapacity):
        await send(address, pb.BlobChunk(digest=DIGEST, size_bytes=2**62, data=b"x"))
    there.put_bytes(DATA)
    with pytest.raises(InvalidRequest, match="bytes, not the 10 announced"):
        await send(address, pb.BlobChunk(digest=DIGEST, size_bytes=10, data=DATA[:5]))


async def test_malformed_uploads_are_refused(serve_blobs: Any, tmp_path: Path) -> None:
    address = await serve_blobs(LocalBlobs(tmp_path / "there"))
    with pytest.raises(InvalidRequest, match="without a chunk"):
        await send(address)
    with pytest.raises(InvalidRequest, match="is no digest"):
        await send(address, pb.BlobChunk(digest="sha256:../../x", size_bytes=1, data=b"x"))
    assert names(tmp_path) == ["there"]


async def test_a_full_store_says_so(serve_blobs: Any, source: Path, tmp_path: Path) -> None:
    address = await serve_blobs(LocalBlobs(tmp_path / "there", limit_bytes=1000))
    async with create_channel(address) as channel:
        with pytest.raises(NoCapacity, match="room for 1000"):
            await upload_blob(channel, source, patience_s=0)


async def test_downloads_of_nothing_and_from_nowhere_are_refused(
    serve_blobs: Any, tmp_path: Path
) -> None:
    there = LocalBlobs(tmp_path / "there")
    digest = there.put_bytes(b"abc")
    address = await serve_blobs(there)
    async with create_channel(address) as channel:
        with pytest.raises(NotFound, match=DIGEST):
            await download_blob(channel, DIGEST, LocalBlobs(tmp_path / "here"))
        for offset in (-1, 4):
            request = pb.DownloadBlobRequest(digest=digest, offset=offset)
            with pytest.raises(InvalidRequest, match="not within 3 bytes"), domain_errors(address):
                await BlobsStub(channel).DownloadBlob(request, timeout=10).read()


async def test_nobody_there_is_unavailable_by_address(source: Path) -> None:
    async with create_channel("127.0.0.1:1") as channel:
        with pytest.raises(Unavailable, match=r"lab:7543 cannot be reached"):
            await upload_blob(channel, source, "lab:7543", patience_s=0.2)


async def test_other_calls_are_answered_during_an_upload(
    serve_blobs: Any, source: Path, tmp_path: Path
) -> None:
    class Slow(LocalBlobs):
        def append(self, digest: str, size: int, offset: int, data: bytes) -> None:
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(20)
            super().append(digest, size, offset, data)

    loop, go_on = asyncio.get_running_loop(), asyncio.Event()
    address = await serve_blobs(Slow(tmp_path / "there"))
    async with create_channel(address) as channel:
        upload = asyncio.create_task(upload_blob(channel, source))
        request = pb.StatBlobRequest(digest=DIGEST)
        stat = await BlobsStub(channel).StatBlob(request, timeout=10)
        assert not stat.complete
        go_on.set()
        assert await upload == DIGEST


async def test_a_store_behind_the_service_is_a_store(
    serve_blobs: Any, source: Path, tmp_path: Path
) -> None:
    there = Torn(tmp_path / "there", 5 * 2**20)
    address = await serve_blobs(there)
    first = RemoteBlobs(address, LocalBlobs(tmp_path / "first"))
    second = RemoteBlobs(address, Torn(tmp_path / "second", 5 * 2**20))

    def use() -> None:
        assert not first.has(DIGEST)
        assert first.stat(DIGEST) == (0, 0)
        with pytest.raises(NotFound):
            first.size(DIGEST)
        with pytest.raises(NotFound):
            first.path(DIGEST)
        assert first.put_file(source, move=True) == DIGEST
        assert not source.exists()
        assert second.has(DIGEST)
        assert second.size(DIGEST) == len(DATA)
        assert second.stat(DIGEST) == (len(DATA), len(DATA))
        assert second.path(DIGEST).read_bytes() == DATA
        small = second.put_bytes(b"small")
        assert first.path(small).read_bytes() == b"small"
        first.append(digest_bytes(b"abcdef"), 6, 0, b"abc")
        assert second.stat(digest_bytes(b"abcdef")) == (6, 3)
        second.append(digest_bytes(b"abcdef"), 6, 3, b"def")
        assert first.path(digest_bytes(b"abcdef")).read_bytes() == b"abcdef"
        with pytest.raises(InvalidRequest, match="is no digest"):
            first.has("nonsense")

    await asyncio.to_thread(use)
    assert there.sent_bytes == len(DATA) + len(b"small") + len(b"abcdef")
    first.close()
    second.close()


async def test_a_refusal_of_a_stranger_is_told_with_its_code() -> None:
    class Refusing(grpc.GenericRpcHandler):  # type: ignore[type-arg]
        """A server that is not ours and refuses everything."""

        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            async def refuse(request: bytes, context: Any) -> bytes:
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "what is this?")
                return b""

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Refusing()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with create_channel(address) as channel:
            refused = pytest.raises(InternalError, match="OUT_OF_RANGE: what is this")
            with refused, domain_errors(address):
                await BlobsStub(channel).StatBlob(pb.StatBlobRequest(), timeout=10)
    finally:
        await server.stop(0)
