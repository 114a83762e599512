"""Blobs behind the controller's Blobs service, for processes on other machines."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from distillfarm.domain.errors import NotFound
from distillfarm.domain.ids import digest_bytes
from distillfarm.wire.blobs.local import LocalBlobs
from distillfarm.wire.blobs.protocol import digest_file
from distillfarm.wire.blobs.transfer import CHUNK_BYTES, download_request, pieces, resume_at
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.retry import retrying_blocking
from distillfarm.wire.transport import (
    PLAINTEXT,
    ClientSecurity,
    call_metadata,
    create_blocking_channel,
)
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import BlobsStub

T = TypeVar("T")

_STAT_TIMEOUT_S = 60.0


class RemoteBlobs:
    """A ``BlobStore`` at the other end of gRPC; ``cache`` keeps what was fetched."""

    def __init__(
        self, address: str, cache: LocalBlobs, security: ClientSecurity = PLAINTEXT
    ) -> None:
        self._address = address
        self._cache = cache
        self._metadata = call_metadata(security)
        self._channel = create_blocking_channel(address, security)
        self._stub = BlobsStub(self._channel)

    def close(self) -> None:
        """Close the connection; the store cannot be used any more."""
        self._channel.close()

    def has(self, digest: str) -> bool:
        """See ``BlobStore``."""
        return self._call(lambda: self._stat(digest)).complete

    def size(self, digest: str) -> int:
        """See ``BlobStore``."""
        stat = self._call(lambda: self._stat(digest))
        if not stat.complete:
            raise NotFound(f"blob {digest} is not at {self._address}; upload it first")
        return stat.size_bytes

    def path(self, digest: str) -> Path:
        """See ``BlobStore``."""
        if not self._cache.has(digest):
            self._call(lambda: self._fetch(digest))
        return self._cache.path(digest)

    def put_file(self, path: Path, move: bool = False) -> str:
        """See ``BlobStore``."""
        digest, size = digest_file(path)
        self._call(lambda: self._send(path, digest, size))
        if move:
            path.unlink()
        return digest

    def put_bytes(self, data: bytes) -> str:
        """See ``BlobStore``."""
        digest = digest_bytes(data)
        self.append(digest, len(data), 0, data)
        return digest

    def stat(self, digest: str) -> tuple[int, int]:
        """See ``BlobStore``."""
        stat = self._call(lambda: self._stat(digest))
        return stat.size_bytes, stat.received_bytes

    def append(self, digest: str, size: int, offset: int, data: bytes) -> None:
        """See ``BlobStore``."""

        def chunks() -> Iterator[pb.BlobChunk]:
            yield pb.BlobChunk(digest=digest, size_bytes=size, offset=offset)
            yield from (pb.BlobChunk(data=piece) for piece in pieces(data))

        self._call(lambda: self._stub.UploadBlob(chunks(), metadata=self._metadata))

    def _call(self, call: Callable[[], T]) -> T:
        def attempt() -> T:
            with domain_errors(self._address):
                return call()

        return retrying_blocking(attempt)

    def _stat(self, digest: str) -> pb.BlobStat:
        request = pb.StatBlobRequest(digest=digest)
        return self._stub.StatBlob(request, timeout=_STAT_TIMEOUT_S, metadata=self._metadata)

    def _send(self, path: Path, digest: str, size: int) -> None:
        stat = self._stat(digest)
        if stat.complete:
            return
        offset = resume_at(stat, size)

        def chunks() -> Iterator[pb.BlobChunk]:
            with path.open("rb") as file:
                file.seek(offset)
                yield pb.BlobChunk(digest=digest, size_bytes=size, offset=offset)
                while data := file.read(CHUNK_BYTES):
                    yield pb.BlobChunk(data=data)

        self._stub.UploadBlob(chunks(), metadata=self._metadata)

    def _fetch(self, digest: str) -> None:
        request = download_request(self._cache, self._stat(digest))
        size, offset = 0, 0
        for chunk in self._stub.DownloadBlob(request, metadata=self._metadata):
            if chunk.digest:
                size, offset = chunk.size_bytes, chunk.offset
            self._cache.append(digest, size, offset, chunk.data)
            offset += len(chunk.data)
