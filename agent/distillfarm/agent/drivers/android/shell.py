"""A shell command on a phone with a time-out that holds.

adbutils' own ``shell(timeout=)`` does not return while the link is cut silently; this one speaks
the shell protocol, version 2, over a transport that adbutils opens.
"""

import socket
import struct
import subprocess
import time
from dataclasses import dataclass

from adbutils import (
    AdbClient,
    AdbConnection,
    AdbDevice,
    AdbError,
    AdbTimeout,
)

from distillfarm.agent.drivers.android import faults
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.domain.errors import DeviceTimeout, InvalidRequest

OUTPUT_BYTES = 4 * 2**20
# The server answers at once or is stuck.
SERVER_TIMEOUT_S = 5.0

_STDOUT, _STDERR, _EXIT = 1, 2, 3
_PIECE_BYTES = 64 * 1024
# The length of a request is told in four hexadecimal digits.
_REQUEST_BYTES = 0xFFFF


@dataclass(frozen=True)
class ShellResult:
    """What a command printed and how it ended.

    ``code`` is None where it was ended because it printed more than allowed (``flooded``); the
    outputs then hold what came before.
    """

    code: int | None
    stdout: bytes
    stderr: bytes
    flooded: bool = False

    @property
    def text(self) -> str:
        """The standard output, undecodable bytes replaced."""
        return self.stdout.decode(errors="replace")


class _Client(AdbClient):  # type: ignore[misc]
    """adbutils' client, which starts a server where none runs, and not on this port: this does not.

    Whether one may be started is for the agent's settings to say.
    """

    def make_connection(self, timeout: float | None = None) -> AdbConnection:
        if not listens(self.host, self.port):
            raise AdbError(f"cannot connect to adb server on port {self.port}")
        return super().make_connection(timeout)


def adb_client(host: str = "127.0.0.1", port: int = 5037) -> AdbClient:
    """A client whose every question to the adb server has an end."""
    return _Client(host=host, port=port, socket_timeout=SERVER_TIMEOUT_S)


def listens(host: str, port: int) -> bool:
    """Whether an adb server runs there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def run(
    device: AdbDevice, command: str, timeout_s: float = 10.0, limit_bytes: int = OUTPUT_BYTES
) -> ShellResult:
    """Run ``command`` and wait for its end; opening, every read and the whole share the time.

    Where the stream is given up, adbd ends the command, unless it runs detached (``jobs``).

    Raises:
        DeviceTimeout: it took longer; a silent link looks the same, which ``link.diagnose`` tells.
        PhoneFault: the phone or the server cannot be reached, or the stream ended without the
            exit code, which is never the command's doing.
        InvalidRequest: the command is longer than adb can carry.
    """
    request = f"shell,v2,raw:{command}"
    if len(request.encode()) > _REQUEST_BYTES:
        raise InvalidRequest(
            f"{device.serial}: a command of {len(command)} characters; push a file"
        )
    ends_s = time.monotonic() + timeout_s
    connection = opened(device, request, timeout_s)
    try:
        return _collect(connection.conn, ends_s, limit_bytes)
    except TimeoutError as error:
        raise DeviceTimeout(
            f"{device.serial}: {command[:80]!r} took longer than {timeout_s:g} s; probe the link"
        ) from error
    except OSError as error:
        raise PhoneFault(str(device.serial), faults.CUT, str(error)) from error
    finally:
        connection.close()


def opened(device: AdbDevice, request: str, timeout_s: float) -> AdbConnection:
    """A stream to one of the phone's services, with ``timeout_s`` for each step of opening it.

    Raises:
        DeviceTimeout: the server or the phone did not answer in time.
        PhoneFault: the phone or the server cannot be reached.
    """
    serial = str(device.serial)
    connection: AdbConnection | None = None
    try:
        connection = device.open_transport(timeout=timeout_s)
        connection.send_command(request)
        connection.check_okay()
    except (AdbTimeout, TimeoutError, subprocess.TimeoutExpired) as error:
        _close(connection)
        raise DeviceTimeout(
            f"{serial}: no answer in {timeout_s:g} s; probe the link, then connect again"
        ) from error
    except (AdbError, OSError, ValueError) as error:
        _close(connection)
        raise PhoneFault(serial, faults.classify(str(error)), str(error)) from error
    return connection


def _collect(stream: socket.socket, ends_s: float, limit_bytes: int) -> ShellResult:
    outputs = {_STDOUT: bytearray(), _STDERR: bytearray()}
    while True:
        kind, length = struct.unpack("<BI", _exactly(stream, 5, ends_s))
        left = limit_bytes - sum(map(len, outputs.values()))
        if kind != _EXIT and length > left:
            outputs.get(kind, bytearray()).extend(_exactly(stream, left, ends_s))
            return ShellResult(None, bytes(outputs[1]), bytes(outputs[2]), flooded=True)
        payload = _exactly(stream, length, ends_s)
        if kind == _EXIT:
            return ShellResult(payload[0], bytes(outputs[_STDOUT]), bytes(outputs[_STDERR]))
        if kind in outputs:
            outputs[kind] += payload


def _exactly(stream: socket.socket, count: int, ends_s: float) -> bytes:
    """Exactly ``count`` bytes.

    Raises:
        TimeoutError: not before ``ends_s`` on the monotonic clock.
        ConnectionResetError: the stream ended before them.
    """
    found = bytearray()
    while len(found) < count:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        stream.settimeout(left_s)
        piece = stream.recv(min(_PIECE_BYTES, count - len(found)))
        if not piece:
            raise ConnectionResetError("the stream ended before the exit code")
        found += piece
    return bytes(found)


def _close(connection: AdbConnection | None) -> None:
    if connection is not None:
        connection.close()
