"""The answers of the Blobs service over any ``BlobStore``; disk and hashing stay in threads."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from distillfarm.domain.errors import InvalidRequest
from distillfarm.wire.blobs import transfer
from distillfarm.wire.blobs.protocol import BlobStore
from distillfarm.wire.v1 import services_pb2 as pb


async def stat(store: BlobStore, request: pb.StatBlobRequest) -> pb.BlobStat:
    """How much of a blob is here."""
    return await asyncio.to_thread(_stat, store, request.digest)


async def receive(store: BlobStore, chunks: AsyncIterable[pb.BlobChunk]) -> pb.BlobStat:
    """Take an upload; what arrived before a cut stays, to be resumed.

    Raises:
        InvalidRequest: there was no chunk, or what ``BlobStore.append`` raises.
    """
    return await asyncio.to_thread(_stat, store, await transfer.receive(store, chunks))


async def send(store: BlobStore, request: pb.DownloadBlobRequest) -> AsyncIterator[pb.BlobChunk]:
    """Send a blob from an offset on; the first chunk has no bytes.

    Raises:
        NotFound: it is not here.
        InvalidRequest: the offset is beyond its end.
    """
    path = await asyncio.to_thread(store.path, request.digest)
    size = path.stat().st_size
    offset = request.offset
    if not 0 <= offset <= size:
        raise InvalidRequest(f"blob {request.digest}: offset {offset} is not within {size} bytes")
    with path.open("rb") as file:
        file.seek(offset)
        yield pb.BlobChunk(digest=request.digest, size_bytes=size, offset=offset)
        while block := await asyncio.to_thread(file.read, transfer.BLOCK_BYTES):
            for piece in transfer.pieces(block):
                yield pb.BlobChunk(data=piece)


def _stat(store: BlobStore, digest: str) -> pb.BlobStat:
    size, received = store.stat(digest)
    return pb.BlobStat(
        digest=digest, size_bytes=size, received_bytes=received, complete=store.has(digest)
    )
