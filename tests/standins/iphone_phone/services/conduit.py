"""Apple File Conduit: one folder of this computer as a phone's file system.

Written after https://github.com/libimobiledevice/libimobiledevice, src/afc.h and src/afc.c.
"""

import errno
import shutil
import stat
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from io import FileIO
from pathlib import Path, PurePosixPath

from iphone_phone.identities import Identity
from iphone_phone.wire import Wire

_MAGIC = b"CFA6LPAA"
_HEADER = struct.Struct("<8sQQQQ")
_NUMBER = struct.Struct("<Q")
_TWO = struct.Struct("<QQ")
_SEEK = struct.Struct("<QQq")
_MODES = {1: "rb", 2: "r+b", 3: "wb", 4: "w+b", 5: "ab", 6: "a+b"}
_CREATES = 2
_BLOCK_BYTES = 4096
_FREE_BYTES = 40 * 10**9


class Operation(IntEnum):
    """What a packet asks for, or is."""

    STATUS = 0x01
    DATA = 0x02
    READ_DIR = 0x03
    REMOVE = 0x08
    MAKE_DIR = 0x09
    FILE_INFO = 0x0A
    DEVICE_INFO = 0x0B
    OPEN = 0x0D
    OPENED = 0x0E
    READ = 0x0F
    WRITE = 0x10
    SEEK = 0x11
    TELL = 0x12
    TOLD = 0x13
    CLOSE = 0x14
    SET_SIZE = 0x15
    RENAME = 0x18
    LOCK = 0x1B
    LINK = 0x1C
    SET_TIME = 0x1E
    REMOVE_ALL = 0x22


class Status(IntEnum):
    """How an operation went."""

    SUCCESS = 0
    UNKNOWN = 1
    INVALID = 7
    NOT_FOUND = 8
    IS_DIR = 9
    DENIED = 10
    UNSUPPORTED = 15
    EXISTS = 16
    NO_SPACE = 18
    NOT_EMPTY = 33


_STATUS_BY_ERRNO = {
    errno.ENOENT: Status.NOT_FOUND,
    errno.ENOTDIR: Status.NOT_FOUND,
    errno.EISDIR: Status.IS_DIR,
    errno.EACCES: Status.DENIED,
    errno.EPERM: Status.DENIED,
    errno.EEXIST: Status.EXISTS,
    errno.ENOSPC: Status.NO_SPACE,
    errno.ENOTEMPTY: Status.NOT_EMPTY,
    errno.EINVAL: Status.INVALID,
}


class Failed(Exception):
    """An operation that AFC itself refuses."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Conduit:
    """One connection to ``root``; nothing outside can be named."""

    def __init__(self, root: Path, identity: Identity) -> None:
        self._root, self._identity = root.resolve(), identity
        self._files: dict[int, FileIO] = {}
        self._next_handle = 1
        self._operations: Mapping[int, Callable[[bytes], tuple[Operation, bytes]]] = {
            Operation.READ_DIR: self._read_dir,
            Operation.REMOVE: self._remove,
            Operation.MAKE_DIR: self._make_dir,
            Operation.FILE_INFO: self._file_info,
            Operation.DEVICE_INFO: self._device_info,
            Operation.OPEN: self._open,
            Operation.READ: self._read,
            Operation.WRITE: self._write,
            Operation.SEEK: self._seek,
            Operation.TELL: self._tell,
            Operation.CLOSE: self._close,
            Operation.SET_SIZE: self._set_size,
            Operation.RENAME: self._rename,
            Operation.LINK: self._link,
            Operation.LOCK: lambda _: _done(),
            Operation.SET_TIME: lambda _: _done(),
            Operation.REMOVE_ALL: self._remove_all,
        }

    async def serve(self, wire: Wire) -> None:
        """Answer until the client goes.

        Raises:
            asyncio.IncompleteReadError: it has gone.
        """
        try:
            while True:
                magic, total, _, number, asked = _HEADER.unpack(await wire.exactly(_HEADER.size))
                if magic != _MAGIC:
                    return
                body = await wire.exactly(total - _HEADER.size)
                said, data = self._perform(asked, body)
                # A status and a handle belong to the header, data follows it.
                heading = _HEADER.size + (0 if said is Operation.DATA else len(data))
                header = _HEADER.pack(_MAGIC, _HEADER.size + len(data), heading, number, said)
                await wire.send(header + data)
        finally:
            for file in self._files.values():
                file.close()

    def _perform(self, asked: int, body: bytes) -> tuple[Operation, bytes]:
        operation = self._operations.get(asked)
        if operation is None:
            return _status(Status.UNSUPPORTED)
        try:
            return operation(body)
        except Failed as failed:
            return _status(failed.status)
        except OSError as error:
            return _status(_STATUS_BY_ERRNO.get(error.errno or 0, Status.UNKNOWN))

    def path(self, name: str) -> Path:
        """Where a file lies here.

        Raises:
            Failed: it would lie outside.
        """
        return self._path(name.encode())

    def _path(self, name: bytes) -> Path:
        parts = PurePosixPath("/" + name.partition(b"\0")[0].decode()).parts[1:]
        if ".." in parts:
            raise Failed(Status.DENIED)
        return self._root.joinpath(*parts)

    def _file(self, body: bytes) -> FileIO:
        (handle,) = _NUMBER.unpack_from(body)
        if handle not in self._files:
            raise Failed(Status.INVALID)
        return self._files[handle]

    def _read_dir(self, body: bytes) -> tuple[Operation, bytes]:
        names = sorted(each.name for each in self._path(body).iterdir())
        return Operation.DATA, b"".join(f"{name}\0".encode() for name in (".", "..", *names))

    def _remove(self, body: bytes) -> tuple[Operation, bytes]:
        path = self._path(body)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
        return _done()

    def _remove_all(self, body: bytes) -> tuple[Operation, bytes]:
        path = self._path(body)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        return _done()

    def _make_dir(self, body: bytes) -> tuple[Operation, bytes]:
        self._path(body).mkdir(parents=True, exist_ok=True)
        return _done()

    def _file_info(self, body: bytes) -> tuple[Operation, bytes]:
        path = self._path(body)
        found = path.lstat()
        facts: dict[str, object] = {
            "st_size": found.st_size,
            "st_blocks": found.st_blocks,
            "st_nlink": found.st_nlink,
            "st_ifmt": "S_IFREG",
            "st_mtime": found.st_mtime_ns,
            "st_birthtime": found.st_ctime_ns,
        }
        if stat.S_ISDIR(found.st_mode):
            facts["st_ifmt"] = "S_IFDIR"
        elif stat.S_ISLNK(found.st_mode):
            facts |= {"st_ifmt": "S_IFLNK", "LinkTarget": path.readlink()}
        return Operation.DATA, _pairs(facts)

    def _device_info(self, body: bytes) -> tuple[Operation, bytes]:
        facts = {
            "Model": self._identity.product_type,
            "FSTotalBytes": self._identity.storage_bytes,
            "FSFreeBytes": _FREE_BYTES,
            "FSBlockSize": _BLOCK_BYTES,
        }
        return Operation.DATA, _pairs(facts)

    def _open(self, body: bytes) -> tuple[Operation, bytes]:
        (mode,) = _NUMBER.unpack_from(body)
        path = self._path(body[_NUMBER.size :])
        if mode not in _MODES:
            raise Failed(Status.INVALID)
        if mode == _CREATES:
            path.touch()
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._files[handle] = FileIO(path, _MODES[mode].replace("b", ""))
        return Operation.OPENED, _NUMBER.pack(handle)

    def _read(self, body: bytes) -> tuple[Operation, bytes]:
        _, count = _TWO.unpack_from(body)
        return Operation.DATA, self._file(body).read(count) or b""

    def _write(self, body: bytes) -> tuple[Operation, bytes]:
        file, rest = self._file(body), memoryview(body)[_NUMBER.size :]
        while rest:
            rest = rest[file.write(rest) or 0 :]
        return _done()

    def _seek(self, body: bytes) -> tuple[Operation, bytes]:
        _, whence, offset = _SEEK.unpack_from(body)
        self._file(body).seek(offset, whence)
        return _done()

    def _tell(self, body: bytes) -> tuple[Operation, bytes]:
        return Operation.TOLD, _NUMBER.pack(self._file(body).tell())

    def _close(self, body: bytes) -> tuple[Operation, bytes]:
        self._file(body).close()
        del self._files[_NUMBER.unpack_from(body)[0]]
        return _done()

    def _set_size(self, body: bytes) -> tuple[Operation, bytes]:
        _, size = _TWO.unpack_from(body)
        self._file(body).truncate(size)
        return _done()

    def _rename(self, body: bytes) -> tuple[Operation, bytes]:
        old, new = body.split(b"\0")[:2]
        self._path(old).rename(self._path(new))
        return _done()

    def _link(self, body: bytes) -> tuple[Operation, bytes]:
        target, place = body[_NUMBER.size :].split(b"\0")[:2]
        # A link that leads outside would be followed.
        self._path(target)
        self._path(place).symlink_to(target.decode())
        return _done()


def _status(status: Status) -> tuple[Operation, bytes]:
    return Operation.STATUS, _NUMBER.pack(status)


def _done() -> tuple[Operation, bytes]:
    return _status(Status.SUCCESS)


def _pairs(facts: Mapping[str, object]) -> bytes:
    return b"".join(f"{name}\0{value}\0".encode() for name, value in facts.items())
