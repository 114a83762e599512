"""Files on a phone, by the digest of their content: sent once, checked there, oldest use dropped.

A file lies at ``CACHE/SHA256/NAME``. It gets there whole or not at all: it is sent under a
temporary name, its SHA-256 is taken on the phone, and only then it is renamed. One transfer at a
time goes to one phone.
"""

import hashlib
import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import faults, readings, shell, transfer
from distillfarm.agent.drivers.android.faults import PhoneFull
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.domain.errors import DigestMismatch, InvalidRequest, NoCapacity

CACHE = "/data/local/tmp/distillfarm"
CACHE_BYTES = 4 * 2**30
# Android itself fails in odd ways on a full disk.
RESERVE_BYTES = 256 * 2**20
_USED = re.compile(r"^used (\d+) ([0-9a-f]{64})$", re.MULTILINE)
_SIZE = re.compile(r"^(\d+)\s+([0-9a-f]{64})$", re.MULTILINE)
# Taking the digest of 1 GiB takes a slow phone a few seconds.
_DIGEST_BYTES_PER_S = 20 * 2**20
# The exit code that tells other bytes from any other failure.
_OTHER = 99


@dataclass(frozen=True)
class Entry:
    """One content in the cache; ``used_s`` is the phone's clock at its last use."""

    digest: str
    used_s: int
    size_bytes: int


@dataclass(frozen=True)
class _Content:
    """A file to send, and where on the phone it is to lie."""

    source: Path
    digest: str
    size_bytes: int
    path: str


@dataclass(frozen=True)
class Cache:
    """The cache of one phone: where it is and what it may take."""

    folder: str = CACHE
    limit_bytes: int = CACHE_BYTES
    reserve_bytes: int = RESERVE_BYTES
    stall_s: float = transfer.STALL_S

    def push(self, device: AdbDevice, source: Path, name: str) -> str:
        """Put a file there and give its path; see ``push_all``."""
        return self.push_all(device, ((source, name),))[0]

    def push_all(self, device: AdbDevice, files: Sequence[tuple[Path, str]]) -> tuple[str, ...]:
        """Put files there by their names and give their paths.

        What is there already is not sent again; one question finds it out for all.

        Raises:
            InvalidRequest: a name is no plain file name.
            PhoneFull: no room, even without what was sent earlier.
            DeviceTimeout: no byte moved for ``stall_s``.
            DigestMismatch: other bytes arrived.
            DeviceOffline: see ``shell.run``.
        """
        wanted = [self._content(source, name) for source, name in files]
        held = self._held(device, wanted)
        for each in wanted:
            if each.path not in held:
                self._send(device, each)
        return tuple(each.path for each in wanted)

    def entries(self, device: AdbDevice) -> tuple[Entry, ...]:
        """What the cache holds.

        Raises:
            DeviceOffline, DeviceTimeout: see ``shell.run``.
        """
        return _entries(shell.run(device, self._listing).text)

    @property
    def _listing(self) -> str:
        """The shell's line that lists the cache: two programs, however much is there."""
        return (
            f"cd {shlex.quote(self.folder)} 2>/dev/null && "
            "{ stat -c 'used %Y %n' [0-9a-f]*; du -sk [0-9a-f]*; } 2>/dev/null"
        )

    def _content(self, source: Path, name: str) -> _Content:
        if Path(name).name != name or name in ("", "..") or "," in name:
            raise InvalidRequest(f"{name!r} is no plain file name; it may hold no slash or comma")
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return _Content(source, digest, source.stat().st_size, f"{self.folder}/{digest}/{name}")

    def _held(self, device: AdbDevice, wanted: Sequence[_Content]) -> frozenset[str]:
        """The paths that are there whole; that they are used now is noted there."""
        places = [
            (shlex.quote(each.path), shlex.quote(f"{self.folder}/{each.digest}")) for each in wanted
        ]
        told = shell.run(
            device,
            "; ".join(
                f"{{ stat -c %s {path} || echo; touch -c {folder}; }} 2>/dev/null"
                for path, folder in places
            ),
        )
        sizes = told.text.splitlines()
        return frozenset(
            each.path
            for each, size in zip(wanted, sizes, strict=False)
            if size == str(each.size_bytes)
        )

    def _send(self, device: AdbDevice, content: _Content) -> None:
        self._make_room(device, content.size_bytes)
        partial = f"{self.folder}/{content.digest}.{secrets.token_hex(4)}.part"
        try:
            transfer.send(device, content.source, partial, self.stall_s)
            self._keep(device, partial, content)
        except (DigestMismatch, NoCapacity):
            shell.run(device, f"rm -f {shlex.quote(partial)}")
            raise

    def _make_room(self, device: AdbDevice, size_bytes: int) -> None:
        """Drop what broke off, and what was used longest ago until the file fits."""
        place = shlex.quote(self.folder)
        told = shell.run(
            device,
            f"mkdir -p {place} && rm -f {place}/*.part && df -k {place} && {self._listing}",
        )
        disk = readings.disk(told.text)
        if disk is None:
            words = told.stderr.decode(errors="replace") or told.text
            raise PhoneFault(str(device.serial), faults.REFUSED, words[-200:])
        known = _entries(told.text)
        free_bytes = disk.available_bytes - self.reserve_bytes
        dropped = evictions(known, size_bytes, free_bytes, self.limit_bytes)
        if dropped is None:
            raise PhoneFull(
                str(device.serial),
                f"no room for {size_bytes / 2**20:.1f} MiB: "
                f"{disk.available_bytes / 2**20:.0f} MiB free, "
                f"{self.reserve_bytes / 2**20:.0f} MiB stay free and the cache may have "
                f"{self.limit_bytes / 2**20:.0f} MiB",
            )
        if dropped:
            names = " ".join(f"{place}/{entry.digest}" for entry in dropped)
            shell.run(device, f"rm -rf {names}", timeout_s=60)

    def _keep(self, device: AdbDevice, partial: str, content: _Content) -> None:
        """Check what arrived and give it its name; this reads it again on the phone."""
        part, path = shlex.quote(partial), shlex.quote(content.path)
        folder = shlex.quote(content.path.rpartition("/")[0])
        kept = shell.run(
            device,
            f"d=$(sha256sum {part}) && d=${{d%% *}} && "
            f'if [ "$d" = {content.digest} ]; then mkdir -p {folder} && mv -f {part} {path} && '
            f'touch {folder}; else echo "$d"; exit {_OTHER}; fi',
            self.stall_s + content.size_bytes / _DIGEST_BYTES_PER_S,
        )
        words = kept.text + kept.stderr.decode(errors="replace")
        if kept.code == _OTHER:
            raise DigestMismatch(
                f"{device.serial}: sent {content.digest}, arrived {words[:200].strip()}; send again"
            )
        if kept.code != 0:
            raise PhoneFault(str(device.serial), faults.classify(words), words)


def _entries(output: str) -> tuple[Entry, ...]:
    sizes = {digest: int(kib) * 1024 for kib, digest in _SIZE.findall(output)}
    return tuple(
        Entry(digest, int(used_s), sizes[digest])
        for used_s, digest in _USED.findall(output)
        if digest in sizes
    )


def evictions(
    entries: Sequence[Entry], size_bytes: int, free_bytes: int, limit_bytes: int
) -> tuple[Entry, ...] | None:
    """What has to go for a file of ``size_bytes`` to come, the longest unused first.

    ``free_bytes`` is what the disk can give without the reserve. ``None``: it does not fit even
    into an empty cache.
    """
    held_bytes = sum(entry.size_bytes for entry in entries)
    dropped: list[Entry] = []
    for entry in [*sorted(entries, key=lambda each: each.used_s), None]:
        if size_bytes <= free_bytes and held_bytes + size_bytes <= limit_bytes:
            return tuple(dropped)
        if entry is not None:
            dropped.append(entry)
            held_bytes -= entry.size_bytes
            free_bytes += entry.size_bytes
    return None
