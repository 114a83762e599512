"""Folders for what unfinished work has reached, named by what was asked for.

They lie outside the scratch folders, so they outlive the process and the worker, however these
end. Workers on one computer share them.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distillfarm.domain.errors import InvalidRequest

_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DAY_S = 24 * 3600.0
_GIB = 1024**3


@dataclass(frozen=True)
class KeepLimits:
    """How long a folder that nobody works on is kept, and how much space all of them may take."""

    age_s: float = 7 * _DAY_S
    total_bytes: int = 8 * _GIB


class Unfinished:
    """Gives every piece of work its folder; ``root`` holds nothing else."""

    def __init__(self, root: Path, limits: KeepLimits | None = None) -> None:
        self._root = root
        self._limits = limits or KeepLimits()
        root.mkdir(parents=True, exist_ok=True)
        self.clean()

    @contextmanager
    def work(self, key: str, final: tuple[type[Exception], ...]) -> Iterator[Path | None]:
        """The folder of the work ``key``, with what earlier attempts left in it.

        It is deleted afterwards, unless the work ends by an error that is none of ``final``: then
        another attempt goes on from it. None while another process is at the same work.

        Raises:
            InvalidRequest: ``key`` is no plain name.
        """
        if not _KEY.fullmatch(key):
            raise InvalidRequest(f"{key!r} names no folder; give letters, digits, - and _")
        self.clean()
        folder = self._root / key
        folder.mkdir(exist_ok=True)
        with _held(folder) as mine:
            if not mine:
                yield None
                return
            # Young again, so that it is not cleaned up while nothing is kept yet.
            os.utime(folder)
            try:
                yield folder
            except final:
                shutil.rmtree(folder)
                raise
            shutil.rmtree(folder)

    def clean(self) -> None:
        """Delete the folders that are too old, then the oldest until the rest fits."""
        left_bytes = self._limits.total_bytes
        oldest_s = time.time() - self._limits.age_s
        for changed_s, folder in sorted(self._folders(), reverse=True):
            left_bytes -= _bytes(folder)
            if changed_s < oldest_s or left_bytes < 0:
                with _held(folder) as mine:
                    if mine:
                        shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> Iterator[tuple[float, Path]]:
        for folder in self._root.iterdir():
            try:
                yield folder.stat().st_mtime, folder
            except FileNotFoundError:
                continue  # another worker has just deleted it


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Whether this is the only process at the folder, which it then is until the end."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            # Released by the kernel when the process ends, by whatever means.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_at(descriptor, folder)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    """Whether the folder is still there: its holder before may have deleted it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size
        except FileNotFoundError:
            continue  # replaced by a newer one
    return total
