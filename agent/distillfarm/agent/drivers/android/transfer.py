"""Sends and fetches one file over adb's sync protocol, for as long as bytes move.

adbutils' own push has no time-out, and tells of a refusal nothing but ``FAIL``.
"""

import socket
import stat
import struct
import time
from pathlib import Path
from typing import BinaryIO

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import faults, shell
from distillfarm.agent.drivers.android.faults import PhoneFull
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.domain.errors import DeviceTimeout

# Longer than a glitch of the network, which adb outlives.
STALL_S = 30.0

# The most that adb's sync protocol takes at once.
_CHUNK_BYTES = 64 * 1024
_MODE = stat.S_IFREG | 0o755


def send(device: AdbDevice, source: Path, path: str, stall_s: float = STALL_S) -> None:
    """Send a file to ``path`` on the phone; takes any time as long as bytes move.

    Raises:
        DeviceTimeout: no byte moved for ``stall_s``.
        PhoneFull: the phone's disk is full.
        PhoneFault: the phone refused it, or the link died.
    """
    serial = str(device.serial)
    connection = shell.opened(device, "sync:", stall_s)
    stream = connection.conn
    stream.settimeout(stall_s)
    target = f"{path},{_MODE}".encode()
    try:
        try:
            stream.sendall(b"SEND" + struct.pack("<I", len(target)) + target)
            with source.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    stream.sendall(b"DATA" + struct.pack("<I", len(chunk)) + chunk)
            stream.sendall(b"DONE" + struct.pack("<I", int(time.time())))
        except (BrokenPipeError, ConnectionResetError):
            # Who refuses a file closes the stream, and has said before why.
            refusal = _refusal(stream)
        else:
            refusal = _refusal(stream)
    except TimeoutError as error:
        raise DeviceTimeout(
            f"{serial}: no byte of {source.name} moved for {stall_s:g} s; probe the link"
        ) from error
    except OSError as error:
        raise PhoneFault(serial, faults.CUT, str(error)) from error
    finally:
        connection.close()
    if refusal is not None:
        fault = faults.classify(refusal)
        if fault is faults.DISK_FULL:
            raise PhoneFull(serial, f"{source.name}: {refusal}")
        raise PhoneFault(serial, fault, refusal)


def receive(device: AdbDevice, path: str, destination: Path, stall_s: float = STALL_S) -> None:
    """Fetch the file at ``path`` on the phone; takes any time as long as bytes move.

    Raises:
        DeviceTimeout: no byte moved for ``stall_s``.
        PhoneFault: there is no such file, or the link died; ``destination`` is not touched.
    """
    serial = str(device.serial)
    connection = shell.opened(device, "sync:", stall_s)
    stream = connection.conn
    stream.settimeout(stall_s)
    partial = destination.with_name(f".{destination.name}.part")
    try:
        name = path.encode()
        stream.sendall(b"RECV" + struct.pack("<I", len(name)) + name)
        with partial.open("wb") as file:
            refusal = _copy(stream, file)
        if refusal is None:
            partial.replace(destination)
    except TimeoutError as error:
        raise DeviceTimeout(
            f"{serial}: no byte of {path} moved for {stall_s:g} s; probe the link"
        ) from error
    except OSError as error:
        raise PhoneFault(serial, faults.CUT, str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
        connection.close()
    if refusal is not None:
        raise PhoneFault(serial, faults.classify(refusal), refusal)


def _copy(stream: socket.socket, file: BinaryIO) -> str | None:
    """Everything that comes; the phone's words of refusal, or None."""
    while True:
        kind, size = struct.unpack("<4sI", _all(stream, 8))
        if kind == b"DONE":
            return None
        if kind != b"DATA" or size > _CHUNK_BYTES:
            return _all(stream, min(size, _CHUNK_BYTES)).decode(errors="replace") or "no word"
        file.write(_all(stream, size))


def _refusal(stream: socket.socket) -> str | None:
    """The phone's words of refusal, or None where it took the file."""
    head = _all(stream, 8)
    words = _all(stream, min(struct.unpack("<I", head[4:])[0], _CHUNK_BYTES))
    return None if head[:4] == b"OKAY" else words.decode(errors="replace") or "no word"


def _all(stream: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = stream.recv(count - len(found))
        if not piece:
            raise ConnectionResetError("the stream ended before the phone took the file")
        found += piece
    return found
