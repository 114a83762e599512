"""Blobs in an S3-compatible object store, with a local folder in front of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore

from distillfarm.domain.errors import NotFound, Unavailable
from distillfarm.domain.ids import digest_bytes
from distillfarm.wire.blobs.local import LocalBlobs
from distillfarm.wire.blobs.protocol import digest_file, hex_digits


class ObjectBlobs:
    """A ``BlobStore`` in an object store, under ``sha256/ab/abcd...``.

    A blob is assembled and verified in ``cache`` and then put as one object, which object stores
    do atomically; what is fetched is verified the same way. ``cache`` may be emptied at any time
    that nobody works with its files.
    """

    def __init__(self, objects: ObjectStore, cache: LocalBlobs) -> None:
        self._objects = objects
        self._cache = cache

    def has(self, digest: str) -> bool:
        """See ``BlobStore``."""
        return self._head(digest) is not None

    def size(self, digest: str) -> int:
        """See ``BlobStore``."""
        size = self._head(digest)
        if size is None:
            raise NotFound(f"blob {digest} is not in the object store; upload it first")
        return size

    def path(self, digest: str) -> Path:
        """See ``BlobStore``."""
        if not self._cache.has(digest):
            size = self.size(digest)
            offset = 0
            with _named(digest):
                for data in obstore.get(self._objects, _key(digest)).stream():
                    self._cache.append(digest, size, offset, bytes(data))
                    offset += len(data)
            if size == 0:
                self._cache.append(digest, 0, 0, b"")
        return self._cache.path(digest)

    def put_file(self, path: Path, move: bool = False) -> str:
        """See ``BlobStore``."""
        digest, _ = digest_file(path)
        if not self.has(digest):
            self._cache.put_file(path)
            self._push(digest)
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
        size = self._head(digest)
        if size is not None:
            return size, size
        if self._cache.has(digest):
            self._push(digest)  # The process ended between the last byte and the put.
        return self._cache.stat(digest)

    def append(self, digest: str, size: int, offset: int, data: bytes) -> None:
        """See ``BlobStore``."""
        self._cache.append(digest, size, offset, data)
        if self._cache.has(digest) and not self.has(digest):
            self._push(digest)

    def _push(self, digest: str) -> None:
        with _named(digest):
            obstore.put(self._objects, _key(digest), self._cache.path(digest))

    def _head(self, digest: str) -> int | None:
        key = _key(digest)
        try:
            with _named(digest):
                return obstore.head(self._objects, key)["size"]
        except NotFound:
            return None


def _key(digest: str) -> str:
    name = hex_digits(digest)
    return f"sha256/{name[:2]}/{name}"


@contextmanager
def _named(digest: str) -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise NotFound(f"blob {digest} is not in the object store") from error
    except BaseError as error:
        raise Unavailable(f"object store, blob {digest}: {error}") from error
