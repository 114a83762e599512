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
from distillfarm.agent.drivers.android.faults import PhoneFault
from distillfarm.domain.errors import DigestMismatch, InvalidRequest, NoCapacity

CACHE = "/data/local/tmp/distillfarm"
CACHE_BYTES = 4 * 2**30
# Android itself fails in odd ways on a full disk.
RESERVE_BYTES = 256 * 2**20
_ENTRY = re.compile(r"^(\d+) (\d+) ([0-9a-f]{64})$", re.MULTILINE)
# Taking the digest of 1 GiB takes a slow phone a few seconds.
_DIGEST_BYTES_PER_S = 20 * 2**20


@dataclass(frozen=True)
class Entry:
    """One content in the cache; ``used_s`` is the phone's clock at its last use."""

    digest: str
    used_s: int
    size_bytes: int


@dataclass(frozen=True)
class Cache:
    """The cache of one phone: where it is and what it may take."""

    folder: str = CACHE
    limit_bytes: int = CACHE_BYTES
    reserve_bytes: int = RESERVE_BYTES
    stall_s: float = transfer.STALL_S

    def push(self, device: AdbDevice, source: Path, name: str) -> str:
        """Put a file there and give its path; what is there already is not sent again.

        Raises:
            InvalidRequest: ``name`` is no plain file name.
            NoCapacity: no room, even without what was sent earlier.
            DeviceTimeout: no byte moved for ``stall_s``.
            DigestMismatch: other bytes arrived.
            DeviceOffline: see ``shell.run``.
        """
        if Path(name).name != name or name in ("", "..") or "," in name:
            raise InvalidRequest(f"{name!r} is no plain file name; it may hold no slash or comma")
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = source.stat().st_size
        folder = f"{self.folder}/{digest}"
        if self._holds(device, folder, name, size_bytes):
            return f"{folder}/{name}"
        self._make_room(device, size_bytes)
        partial = f"{self.folder}/{digest}.{secrets.token_hex(4)}.part"
        try:
            transfer.send(device, source, partial, self.stall_s)
            self._keep(device, partial, f"{folder}/{name}", digest, size_bytes)
        except (DigestMismatch, NoCapacity):
            shell.run(device, f"rm -f {shlex.quote(partial)}")
            raise
        return f"{folder}/{name}"

    def entries(self, device: AdbDevice) -> tuple[Entry, ...]:
        """What the cache holds.

        Raises:
            DeviceOffline, DeviceTimeout: see ``shell.run``.
        """
        listed = shell.run(
            device,
            f"cd {shlex.quote(self.folder)} 2>/dev/null && for d in *; do [ -d $d ] && "
            'echo "$(stat -c %Y $d) $(du -sk $d | cut -f1) $d"; done',
        )
        return tuple(
            Entry(digest, int(used_s), int(kib) * 1024)
            for used_s, kib, digest in _ENTRY.findall(listed.text)
        )

    def _holds(self, device: AdbDevice, folder: str, name: str, size_bytes: int) -> bool:
        path = shlex.quote(f"{folder}/{name}")
        found = shell.run(device, f"stat -c %s {path} && touch {shlex.quote(folder)}")
        return found.code == 0 and found.text.strip() == str(size_bytes)

    def _make_room(self, device: AdbDevice, size_bytes: int) -> None:
        """Drop what broke off, and what was used longest ago until the file fits."""
        place = shlex.quote(self.folder)
        told = shell.run(device, f"mkdir -p {place} && rm -f {place}/*.part && df -k {place}")
        disk = readings.disk(told.text)
        if told.code != 0 or disk is None:
            words = told.stderr.decode(errors="replace") or told.text
            raise PhoneFault(str(device.serial), faults.REFUSED, words[-200:])
        known = self.entries(device)
        free_bytes = disk.available_bytes - self.reserve_bytes
        dropped = evictions(known, size_bytes, free_bytes, self.limit_bytes)
        if dropped is None:
            raise NoCapacity(
                f"{device.serial}: no room for {size_bytes / 2**20:.1f} MiB: "
                f"{disk.available_bytes / 2**20:.0f} MiB free, "
                f"{self.reserve_bytes / 2**20:.0f} MiB stay free and the cache may have "
                f"{self.limit_bytes / 2**20:.0f} MiB; {faults.DISK_FULL.remedy}"
            )
        if dropped:
            names = " ".join(f"{place}/{entry.digest}" for entry in dropped)
            shell.run(device, f"rm -rf {names}", timeout_s=60)

    def _keep(
        self, device: AdbDevice, partial: str, path: str, digest: str, size_bytes: int
    ) -> None:
        timeout_s = self.stall_s + size_bytes / _DIGEST_BYTES_PER_S
        found = shell.run(device, f"sha256sum {shlex.quote(partial)}", timeout_s)
        if found.code != 0 or found.text.split(maxsplit=1)[0] != digest:
            words = found.text.strip() or found.stderr.decode(errors="replace").strip()
            raise DigestMismatch(
                f"{device.serial}: sent {digest}, arrived {words[:200]}; send again"
            )
        folder = shlex.quote(path.rpartition("/")[0])
        moved = shell.run(
            device,
            f"mkdir -p {folder} && mv -f {shlex.quote(partial)} {shlex.quote(path)} && "
            f"touch {folder}",
        )
        if moved.code != 0:
            words = moved.stderr.decode(errors="replace")
            raise PhoneFault(str(device.serial), faults.classify(words), words)


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
