"""Files of fixed arrays as every runner reads them: an .npz with its members stored as they are.

NumPy writes compressed ones as well, which the native runner on a phone does not unpack. The files
come from anywhere: they are judged by their directory before anything of them is unpacked, and no
array is ever made of them, so nothing pickled can run.
"""

import errno
import mmap
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from distillfarm.domain.errors import InvalidRequest, NoCapacity

# As many as the native runner takes.
MOST_ARRAYS = 4096
# A phone's runner holds them beside the model.
MOST_BYTES = 2**30

_ENTRY = b"PK\x01\x02"
_NPY = b"\x93NUMPY"
_ENCRYPTED = 1
# NumPy writes no others, and zipfile unpacks the rest of them without a bound.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE_BYTES = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)


def stored(
    source: Path, room: IO[bytes], most_arrays: int = MOST_ARRAYS, most_bytes: int = MOST_BYTES
) -> Path:
    """A file with the arrays of ``source``, none of them compressed.

    That is ``source`` itself, or ``room``, an empty file with a name, filled. The same content
    fills it with the same bytes. ``most_bytes`` bounds what is unpacked.

    Raises:
        InvalidRequest: it is no .npz, is damaged, or holds too much.
        NoCapacity: this computer's disk is full.
    """
    try:
        _check_directory(source, most_arrays)
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            _check_members(source, members, most_arrays, most_bytes)
            _check_heads(archive, members)
            if all(each.compress_type == zipfile.ZIP_STORED for each in members):
                return source
            with zipfile.ZipFile(room, "w") as copy:
                for member in members:
                    _copy(archive, member, copy)
        room.flush()
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise NoCapacity(
                f"no room to unpack {source.name} on the agent's computer: {error}"
            ) from error
        raise InvalidRequest(
            f"{source.name}: the file of fixed arrays cannot be read: {error}; "
            "write it by numpy.savez or numpy.savez_compressed"
        ) from error
    return Path(room.name)


def _check_directory(source: Path, most_arrays: int) -> None:
    """Bound what ``zipfile`` reads of the directory: it takes every entry that is claimed.

    Data of an array may look like an entry, but not thousands of times by chance.
    """
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        count, at = 0, content.find(_ENTRY)
        while at >= 0:
            count += 1
            if count > 2 * most_arrays:
                raise _too_many(source, most_arrays)
            at = content.find(_ENTRY, at + len(_ENTRY))


def _check_members(
    source: Path, members: Sequence[zipfile.ZipInfo], most_arrays: int, most_bytes: int
) -> None:
    if len(members) > most_arrays:
        raise _too_many(source, most_arrays)
    size_bytes = sum(each.file_size for each in members)
    if size_bytes > most_bytes:
        raise InvalidRequest(
            f"{source.name}: fixed arrays of {size_bytes / 2**20:.0f} MiB unpacked, "
            f"limit {most_bytes / 2**20:.0f}; take fewer samples"
        )
    for each in members:
        if each.flag_bits & _ENCRYPTED or each.compress_type not in _PACKINGS:
            raise zipfile.BadZipFile(f"{each.filename!r} is encrypted, or packed unlike NumPy does")


def _check_heads(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo]) -> None:
    for each in members:
        with archive.open(each) as file:
            if file.read(len(_NPY)) != _NPY:
                raise zipfile.BadZipFile(f"{each.filename!r} is no .npy")


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, copy: zipfile.ZipFile) -> None:
    """Unpack one array; never more than the directory says, and its checksum is held to it."""
    # A name alone: without the times of the original, equal arrays are equal files.
    plain = zipfile.ZipInfo(member.filename)
    with archive.open(member) as packed, copy.open(plain, "w") as unpacked:
        shutil.copyfileobj(packed, unpacked, _PIECE_BYTES)


def _too_many(source: Path, most_arrays: int) -> InvalidRequest:
    return InvalidRequest(f"{source.name}: more than {most_arrays} fixed arrays")
