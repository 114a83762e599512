"""Sending and fetching blobs over a channel, resumed after every cut."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from pathlib import Path

import grpc

from distillfarm.domain.errors import InvalidRequest, NotFound
from distillfarm.wire.blobs.protocol import BlobStore, digest_file
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.retry import retrying
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import BlobsStub

CHUNK_BYTES = 2**20
"""One message: 512 KiB to 2 MiB travel equally fast, 256 KiB half as fast."""
BLOCK_BYTES = 4 * 2**20
"""What is read or written in a thread at once."""
_STAT_TIMEOUT_S = 60.0


async def upload_blob(
    channel: grpc.aio.Channel,
    path: Path,
    address: str = "the controller",
    patience_s: float = 3.0,
) -> str:
    """Send a file unless it is there already; gives its digest.

    Raises:
        InvalidRequest: the file cannot be read.
        Unavailable: the other side stayed out of reach.
    """
    digest, size = await asyncio.to_thread(digest_file, path)
    stub = BlobsStub(channel)

    async def attempt() -> None:
        with domain_errors(address):
            stat = await stub.StatBlob(pb.StatBlobRequest(digest=digest), timeout=_STAT_TIMEOUT_S)
            if not stat.complete:
                offset = resume_at(stat, size)
                # Announced alone first: a refusal that meets chunks on their way would come out
                # as gRPC's own broken write, and its reason would be lost.
                announcement = pb.BlobChunk(digest=digest, size_bytes=size, offset=offset)
                await stub.UploadBlob(iter([announcement]))
                await stub.UploadBlob(_chunks(path, digest, size, offset))

    await retrying(attempt, patience_s)
    return digest


async def download_blob(
    channel: grpc.aio.Channel,
    digest: str,
    store: BlobStore,
    address: str = "the controller",
    patience_s: float = 3.0,
) -> None:
    """Fetch a blob into ``store`` unless it is there already.

    Raises:
        NotFound: the other side does not have it.
        Unavailable: the other side stayed out of reach.
    """
    stub = BlobsStub(channel)

    async def attempt() -> None:
        if await asyncio.to_thread(store.has, digest):
            return
        with domain_errors(address):
            stat = await stub.StatBlob(pb.StatBlobRequest(digest=digest), timeout=_STAT_TIMEOUT_S)
            request = await asyncio.to_thread(download_request, store, stat)
            await receive(store, stub.DownloadBlob(request))

    await retrying(attempt, patience_s)


async def receive(store: BlobStore, chunks: AsyncIterable[pb.BlobChunk]) -> str:
    """Put chunks into ``store``, writing one block while the next arrives; gives the digest.

    The first chunk names digest, size and offset. The blocks before a cut stay, to be resumed.

    Raises:
        InvalidRequest: there was no chunk, or what ``BlobStore.append`` raises.
    """
    incoming = aiter(chunks)
    first = await anext(incoming, None)
    if first is None:
        raise InvalidRequest("a blob without a chunk; the first names digest, size and offset")
    offset = first.offset

    def start(data: bytes) -> asyncio.Future[None]:
        return asyncio.ensure_future(
            asyncio.to_thread(store.append, first.digest, first.size_bytes, offset, data)
        )

    writing = start(first.data)
    offset += len(first.data)
    try:
        async for block in _blocks(incoming):
            await writing
            writing = start(block)
            offset += len(block)
    finally:
        await writing
    return first.digest


def pieces(block: bytes) -> Iterator[bytes]:
    """A block in pieces that fit a message each."""
    for at in range(0, len(block), CHUNK_BYTES):
        yield block[at : at + CHUNK_BYTES]


def resume_at(stat: pb.BlobStat, size: int) -> int:
    """Where an upload goes on; from the start when the other side was told another size."""
    return stat.received_bytes if stat.size_bytes == size else 0


def download_request(store: BlobStore, stat: pb.BlobStat) -> pb.DownloadBlobRequest:
    """What to ask for, given what is in ``store`` already.

    Raises:
        NotFound: the other side does not have the blob.
    """
    if not stat.complete:
        raise NotFound(f"blob {stat.digest} is not there; upload it first")
    size, received = store.stat(stat.digest)
    offset = received if size == stat.size_bytes else 0
    return pb.DownloadBlobRequest(digest=stat.digest, offset=offset)


async def _blocks(chunks: AsyncIterator[pb.BlobChunk]) -> AsyncIterator[bytes]:
    held = bytearray()
    async for chunk in chunks:
        held += chunk.data
        if len(held) >= BLOCK_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


async def _chunks(path: Path, digest: str, size: int, offset: int) -> AsyncIterator[pb.BlobChunk]:
    with path.open("rb") as file:
        file.seek(offset)
        yield pb.BlobChunk(digest=digest, size_bytes=size, offset=offset)
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            for piece in pieces(block):
                yield pb.BlobChunk(data=piece)
