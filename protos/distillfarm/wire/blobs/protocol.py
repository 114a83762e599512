"""What a store of immutable files, named by the digest of their bytes, promises."""

import hashlib
from pathlib import Path
from typing import Protocol

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.ids import is_digest


class BlobStore(Protocol):
    """Content-addressed files; every method is synchronous, blocking and thread-safe.

    A digest is ``sha256:`` and 64 hex digits; anything else raises ``InvalidRequest`` everywhere.
    What is complete was verified against its digest and never changes. ``NoCapacity`` is raised
    when the disk or the store's limit is full, ``Unavailable`` when the store is elsewhere and
    cannot be reached.
    """

    def has(self, digest: str) -> bool:
        """Whether the blob is here, complete."""

    def size(self, digest: str) -> int:
        """Its bytes.

        Raises:
            NotFound: it is not here, or incomplete.
        """

    def path(self, digest: str) -> Path:
        """A local, read-only file with its bytes; fetched first when the store is elsewhere.

        Raises:
            NotFound: it is not here, or incomplete.
        """

    def put_file(self, path: Path, move: bool = False) -> str:
        """Store a file; gives its digest. ``move`` removes the source once it is stored.

        Raises:
            InvalidRequest: it cannot be read, or is no regular file.
            DigestMismatch: it changed while it was read.
        """

    def put_bytes(self, data: bytes) -> str:
        """Store ``data``; gives its digest."""

    def stat(self, digest: str) -> tuple[int, int]:
        """(size, bytes received so far); equal once complete, (0, 0) for an unknown blob."""

    def append(self, digest: str, size: int, offset: int, data: bytes) -> None:
        """Add the next bytes of a blob of ``size``; the last ones complete it.

        Bytes that are here already are skipped, so several writers may send the same blob at once.

        Raises:
            InvalidRequest: more bytes than ``size``, or a size that is not the blob's.
            WrongState: ``offset`` leaves a gap; go on from what ``stat`` gives.
            DigestMismatch: the bytes, now complete, are not the named ones; all are dropped.
        """


def hex_digits(digest: str) -> str:
    """The 64 hex digits of a digest, which are safe as a file name.

    Raises:
        InvalidRequest: it is no digest.
    """
    if not is_digest(digest):
        raise InvalidRequest(f"{digest[:80]!r} is no digest; write sha256: and 64 hex digits")
    return digest.removeprefix("sha256:")


def digest_file(path: Path) -> tuple[str, int]:
    """(digest, size) of a regular file.

    Raises:
        InvalidRequest: it cannot be read, or is no regular file.
    """
    if path.exists() and not path.is_file():
        raise InvalidRequest(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return f"sha256:{digest}", file.tell()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
