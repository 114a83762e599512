"""The answers of the Blobs service over any ``BlobStore``; disk and hashing stay in threads."""

import asyncio
from collections.abc import AsyncIterator

from distillfarm.domain.errors import InvalidRequest
from distillfarm.wire.blobs.protocol import BlobStore
from distillfarm.wire.blobs.transfer import CHUNK_BYTES
from distillfarm.wire.v1 import services_pb2 as pb


async def stat(store: BlobStore, request: pb.StatBlobRequest) -> pb.BlobStat:
    """How much of a blob is here."""
    return await asyncio.to_thread(_stat, store, request.digest)


async def receive(store: BlobStore, chunks: AsyncIterator[pb.BlobChunk]) -> pb.BlobStat:
    """Take an upload; what arrived before a cut stays, to be resumed.

    Raises:
        InvalidRequest: no chunk at all, or what ``BlobStore.append`` raises.
    """
    digest, size, offset = "", 0, 0
    async for chunk in chunks:
        if not digest:
            digest, size, offset = chunk.digest, chunk.size_bytes, chunk.offset
        await asyncio.to_thread(store.append, digest, size, offset, chunk.data)
        offset += len(chunk.data)
    return await asyncio.to_thread(_stat, store, digest)


async def send(store: BlobStore, request: pb.DownloadBlobRequest) -> AsyncIterator[pb.BlobChunk]:
    """Send a blob from an offset on; at least one chunk, which may be empty.

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
        while True:
            data = await asyncio.to_thread(file.read, CHUNK_BYTES)
            yield pb.BlobChunk(digest=request.digest, size_bytes=size, offset=offset, data=data)
            offset += len(data)
            if offset >= size or not data:
                return


def _stat(store: BlobStore, digest: str) -> pb.BlobStat:
    size, received = store.stat(digest)
    return pb.BlobStat(
        digest=digest, size_bytes=size, received_bytes=received, complete=store.has(digest)
    )
