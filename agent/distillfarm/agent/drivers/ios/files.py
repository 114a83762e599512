"""Files in the app's container, by the digest of their content: sent once, oldest dropped.

A file lies at ``Documents/cache/SHA256/NAME``, and is there whole or not at all. The app takes the
digest of a model before it runs it (see ``job_files``), so nothing else takes its place unseen.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.ios import faults
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.protocol import (
    FetchFile,
    FileSize,
    Folder,
    Folders,
    Look,
    RemoveFolder,
    SendFile,
)
from distillfarm.domain.errors import InvalidRequest

DOCUMENTS = "/Documents"
CACHE, JOBS = "cache", "jobs"
CACHE_BYTES = 4 * 2**30
# iOS itself begins to remove things on a full disk.
RESERVE_BYTES = 2**30
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_PLACE = re.compile(rf"^{CACHE}/[0-9a-f]{{64}}/[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
# USB 2 gives 20 to 30 MB/s through AFC; a hub that many share gives less.
_BYTES_PER_S, _LEAST_S = 2 * 2**20, 30.0


@dataclass(frozen=True)
class Cache:
    """The files of one app on one phone."""

    bundle: str
    limit_bytes: int = CACHE_BYTES
    reserve_bytes: int = RESERVE_BYTES

    async def push(self, line: PhoneLine, source: Path, name: str) -> str:
        """Put a file there; gives its path below ``Documents``. What is there is not sent again.

        Raises:
            InvalidRequest: the name is no plain file name.
            PhoneFault: no room, or the phone was lost.
        """
        if not _NAME.match(name):
            raise InvalidRequest(f"{name!r} is no plain file name of letters, digits, _, - and .")
        digest, size_bytes = await asyncio.to_thread(_measured, source)
        place = f"{CACHE}/{digest}/{name}"
        remote = f"{DOCUMENTS}/{place}"
        if await line.ask(FileSize(self.bundle, remote)) != size_bytes:
            await self._make_room(line, size_bytes)
            await line.ask(SendFile(self.bundle, str(source), remote), duration_s(size_bytes))
        return place

    async def pull(self, line: PhoneLine, place: str, destination: Path) -> None:
        """Fetch one of the files that were pushed.

        Raises:
            InvalidRequest: it is not one of them.
        """
        remote = f"{DOCUMENTS}/{place}"
        size_bytes = await line.ask(FileSize(self.bundle, remote)) if _PLACE.match(place) else None
        if size_bytes is None:
            raise InvalidRequest(f"{place} is not a file of the farm's on {line.udid}")
        await line.ask(FetchFile(self.bundle, remote, str(destination)), duration_s(size_bytes))

    async def _make_room(self, line: PhoneLine, size_bytes: int) -> None:
        folder = f"{DOCUMENTS}/{CACHE}"
        known = await line.ask(Folders(self.bundle, folder))
        free_bytes = (await line.ask(Look())).free_bytes
        dropped = evictions(known, size_bytes, self.limit_bytes, free_bytes, self.reserve_bytes)
        if dropped is None:
            raise PhoneFault(
                line.udid,
                faults.DISK_FULL,
                f"no room for {size_bytes / 2**20:.1f} MiB, {self.reserve_bytes / 2**20:.0f} MiB "
                "of the phone's disk and the cache's limit left aside",
            )
        for each in dropped:
            await line.ask(RemoveFolder(self.bundle, f"{folder}/{each}"))


def evictions(
    known: tuple[Folder, ...],
    size_bytes: int,
    limit_bytes: int,
    free_bytes: int | None,
    reserve_bytes: int,
) -> tuple[str, ...] | None:
    """Which folders to drop for a new file, the oldest first; None where that is not enough.

    ``free_bytes`` is None where the phone does not tell.
    """
    held_bytes = sum(each.size_bytes for each in known)
    over_bytes = held_bytes + size_bytes - limit_bytes
    if free_bytes is not None:
        over_bytes = max(over_bytes, size_bytes + reserve_bytes - free_bytes)
    dropped = []
    for each in sorted(known, key=lambda each: each.changed_at_s):
        if over_bytes <= 0:
            break
        over_bytes -= each.size_bytes
        dropped.append(each.name)
    return tuple(dropped) if over_bytes <= 0 else None


def digest_of(place: str) -> str:
    """The digest of a file that was pushed.

    Raises:
        InvalidRequest: it was not.
    """
    if not _PLACE.match(place):
        raise InvalidRequest(f"{place!r} was not pushed to the phone")
    return place.split("/")[1]


def duration_s(size_bytes: int) -> float:
    """How long a transfer may take."""
    return _LEAST_S + size_bytes / _BYTES_PER_S


def _measured(source: Path) -> tuple[str, int]:
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), source.stat().st_size
