"""Blobs in a local folder, safe for many threads and processes at once."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

from distillfarm.domain.errors import (
    DigestMismatch,
    InvalidRequest,
    NoCapacity,
    NotFound,
    WrongState,
)
from distillfarm.domain.ids import digest_bytes
from distillfarm.files import whole
from distillfarm.wire.blobs.protocol import digest_file, hex_digits

_COPY_BYTES = 4 * 2**20
# One write of 4 MiB takes several times as long as sixteen of 256 KiB (ext4, Linux 6.18).
_WRITE_BYTES = 256 * 2**10
_READ_ONLY = 0o444
_ABANDONED_AFTER_S = 7 * 86_400.0
"""An incomplete blob that nobody added to for a week is dropped."""


class LocalBlobs:
    """A ``BlobStore`` in a folder: ``sha256/ab/abcd...`` complete, ``partial/`` what is not.

    A partial file is named by digest and claimed size, so that a lie about the size spoils only
    its own upload; it is locked while it is written, and becomes the blob by a rename after its
    bytes were verified and are on disk. ``limit_bytes`` bounds complete blobs and the claimed
    sizes of partial ones together.
    """

    def __init__(self, root: Path, limit_bytes: int | None = None) -> None:
        self._complete = root / "sha256"
        self._partial = root / "partial"
        self._lock = root / "lock"
        self._limit_bytes = limit_bytes
        for folder in (self._complete, self._partial):
            folder.mkdir(parents=True, exist_ok=True)

    def has(self, digest: str) -> bool:
        """See ``BlobStore``."""
        return self._final(digest).is_file()

    def size(self, digest: str) -> int:
        """See ``BlobStore``."""
        return self.path(digest).stat().st_size

    def path(self, digest: str) -> Path:
        """See ``BlobStore``."""
        final = self._final(digest)
        if not final.is_file():
            raise NotFound(f"blob {digest} is not here; upload it first")
        return final

    def put_file(self, path: Path, move: bool = False) -> str:
        """See ``BlobStore``."""
        digest, size = digest_file(path)
        try:
            self._copy(path, digest, size)
        except DigestMismatch:
            # Another writer may have sent wrong bytes first; they are dropped now.
            self._copy(path, digest, size)
        if move:
            path.unlink()
        return digest

    def put_bytes(self, data: bytes) -> str:
        """See ``BlobStore``."""
        digest = digest_bytes(data)
        self.append(digest, len(data), 0, data)
        return digest

    def stat(self, digest: str) -> tuple[int, int]:
        """See ``BlobStore``; of several claimed sizes, the one with the most bytes."""
        if self.has(digest):
            size = self.size(digest)
            return size, size
        best = (0, 0)
        for path in self._partial.glob(f"{hex_digits(digest)}.*"):
            try:
                received = path.stat().st_size
            except FileNotFoundError:
                continue  # Completed or dropped since.
            best = max(best, (int(path.suffix[1:]), received), key=lambda each: each[1])
        return best

    def append(self, digest: str, size: int, offset: int, data: bytes) -> None:
        """See ``BlobStore``."""
        if offset < 0 or offset + len(data) > size:
            raise InvalidRequest(
                f"blob {digest}: {len(data)} bytes at {offset} do not fit in the {size} announced"
            )
        with self._locked(digest, size) as file:
            if file is None:
                if self.size(digest) != size:
                    raise InvalidRequest(
                        f"blob {digest} has {self.size(digest)} bytes, not the {size} announced"
                    )
                return
            received = file.seek(0, os.SEEK_END)
            if offset > received:
                raise WrongState(
                    f"blob {digest}: offset {offset} leaves a gap; {received} bytes are here"
                )
            with _full_disk_named(digest):
                rest = memoryview(data)[received - offset :]
                for at in range(0, len(rest), _WRITE_BYTES):
                    file.write(rest[at : at + _WRITE_BYTES])
                file.flush()
                if file.tell() == size:
                    self._finish(file, digest, size)

    def _copy(self, path: Path, digest: str, size: int) -> None:
        offset = 0
        with path.open("rb") as source:
            while not self.has(digest):
                data = source.read(_COPY_BYTES)
                if offset + len(data) > size or (not data and offset < size):
                    raise DigestMismatch(f"{path} changed while it was read; try again")
                self.append(digest, size, offset, data)
                offset += len(data)

    def _finish(self, file: BufferedRandom, digest: str, size: int) -> None:
        partial, final = self._partial_path(digest, size), self._final(digest)
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != hex_digits(digest):
            partial.unlink()
            raise DigestMismatch(
                f"blob {digest}: the bytes received are sha256:{found}; send again"
            )
        os.fchmod(file.fileno(), _READ_ONLY)
        os.fsync(file.fileno())
        final.parent.mkdir(exist_ok=True)
        partial.replace(final)
        whole.sync_names(final.parent)

    @contextmanager
    def _locked(self, digest: str, size: int) -> Iterator[BufferedRandom | None]:
        """The partial file, ours alone; None when the blob is complete."""
        path = self._partial_path(digest, size)
        while not self.has(digest):
            if not path.exists():
                self._reserve(path, digest, size)
            try:
                file = path.open("r+b")
            except FileNotFoundError:
                continue  # Completed or dropped by another writer: look again.
            with file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not _is_still(path, file):
                    continue
                if self.has(digest):  # Completed while the file was being created again.
                    path.unlink()
                    break
                yield file
                return
        yield None

    def _reserve(self, path: Path, digest: str, size: int) -> None:
        """Create a partial file if there is room for all of it."""
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._drop_abandoned()
            free = shutil.disk_usage(self._partial).free
            if self._limit_bytes is not None:
                free = min(free, self._limit_bytes - self._taken())
            if size > free:
                raise NoCapacity(
                    f"blob {digest} has {size} bytes and the store has room for {max(free, 0)}; "
                    "remove old studies or raise its limit"
                )
            path.touch()

    def _taken(self) -> int:
        complete = sum(path.stat().st_size for path in self._complete.glob("*/*"))
        return complete + sum(int(path.suffix[1:]) for path in self._partial.iterdir())

    def _drop_abandoned(self) -> None:
        oldest = time.time() - _ABANDONED_AFTER_S
        for path in self._partial.iterdir():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:
                continue  # Completed since.

    def _final(self, digest: str) -> Path:
        name = hex_digits(digest)
        return self._complete / name[:2] / name

    def _partial_path(self, digest: str, size: int) -> Path:
        return self._partial / f"{hex_digits(digest)}.{size}"


def _is_still(path: Path, file: BufferedRandom) -> bool:
    """Whether ``path`` is the open ``file``, and was not renamed or replaced meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def _full_disk_named(digest: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoCapacity(f"blob {digest}: the disk is full; free some space") from error
        raise
