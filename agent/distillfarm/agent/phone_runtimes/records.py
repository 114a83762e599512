"""The record beside every kept runtime: what it is, where it came from, each file's digest."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from distillfarm.agent.phone_runtimes.catalog import Flavour
from distillfarm.domain.errors import DigestMismatch, InvalidRequest

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Origin:
    """Where something came from, in words, and the SHA-256 of the file that it came in."""

    description: str
    sha256: str


@dataclass(frozen=True)
class KeptFile:
    """A file by its plain name, as it was when it was kept."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """One version of one program or library.

    ``files`` go to the phone, the program or library itself first. ``licences`` stay.
    """

    name: str
    flavour: Flavour
    version: str
    origin: Origin
    kept_at: datetime
    files: tuple[KeptFile, ...]
    licences: tuple[KeptFile, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What goes to the phone."""
        return sum(each.size_bytes for each in self.files)


@dataclass(frozen=True)
class PhoneRuntime:
    """A program or library that is there; ``files`` is everything to push, ``main`` among them."""

    record: Record
    folder: Path

    @property
    def main(self) -> Path:
        """The program to start or the library to load."""
        return self.files[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """What goes to the phone."""
        return tuple(self.folder / each.name for each in self.record.files)


def write(record: Record, folder: Path) -> None:
    """Put ``record`` beside its files."""
    content = msgspec.json.format(msgspec.json.encode(record), indent=2)
    (folder / MANIFEST).write_bytes(content + b"\n")


def read(folder: Path) -> Record:
    """The record in ``folder``.

    Raises:
        DigestMismatch: it is missing, damaged, or names files elsewhere.
    """
    path = folder / MANIFEST
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError) as error:
        raise DigestMismatch(f"{path} cannot be read: {error}; {remedy(folder)}") from error
    names = [each.name for each in (*record.files, *record.licences)]
    if not record.files or any(Path(name).name != name for name in names):
        raise DigestMismatch(f"{path} names no file, or one elsewhere; {remedy(folder)}")
    return record


def kept(path: Path) -> KeptFile:
    """A file as it is now."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return KeptFile(path.name, path.stat().st_size, digest)


def release(version: str) -> Version:
    """A version that can be compared.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        return Version(version)
    except InvalidVersion as error:
        raise InvalidRequest(f"{version!r} is no version such as 1.29.0 or 2.0.2a1") from error


def remedy(folder: Path) -> str:
    """What to do about spoiled files in the folder of one version."""
    name, flavour, version = folder.parts[-3:]
    return (
        f"`distillfarm runtimes remove {name} {flavour} --version {version}`, then fetch or add it"
    )
