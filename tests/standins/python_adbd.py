"""A small adbd for tests: real commands of this computer, and failures at will.

It speaks adb's protocol over TCP (AOSP packages/modules/adb, protocol.txt and SYNC.TXT): shell
version 2 and SEND of the sync service. ``adb_server`` is a real adb server for it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

_CNXN, _AUTH, _OPEN, _OKAY, _CLSE, _WRTE = (
    int.from_bytes(word, "little")
    for word in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
_T = TypeVar("_T")
_VERSION = 0x01000001
_PAYLOAD_BYTES = 64 * 1024
_BANNER = (
    b"device::ro.product.name=standin;ro.product.model=Stand_in;ro.product.device=standin;"
    b"features=shell_v2,cmd,stat_v2,fixed_push_mkdir"
)


class NoAdb(Exception):
    """Why no phone can be had here."""


@dataclass
class Faults:
    """What the daemon does wrong; may be changed while it runs.

    ``deaf`` takes bytes and answers nothing, as behind a cut link. ``unauthorized`` asks for a key
    for ever. ``deaf_after_bytes`` turns deaf in mid-push. ``spoils`` flips a byte of every push.
    ``send_error`` is what a push is refused with. ``environment`` goes to every command.
    """

    deaf: bool = False
    unauthorized: bool = False
    deaf_after_bytes: int | None = None
    spoils: bool = False
    send_error: str = ""
    environment: dict[str, str] = field(default_factory=dict)


class _Stream:
    def __init__(self, connection: "_Connection", own: int, peer: int) -> None:
        self.connection, self.own, self.peer = connection, own, peer
        self.arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.acknowledged = asyncio.Event()
        self.closed = False
        self._rest = b""

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), _PAYLOAD_BYTES):
            if self.closed:
                raise ConnectionError
            self.acknowledged.clear()
            piece = data[start : start + _PAYLOAD_BYTES]
            await self.connection.send(_WRTE, self.own, self.peer, piece)
            await self.acknowledged.wait()

    async def read(self, count: int) -> bytes:
        while len(self._rest) < count:
            piece = await self.arrived.get()
            if piece is None:
                raise ConnectionError
            # Only what is consumed is acknowledged: this is adb's flow control.
            await self.connection.send(_OKAY, self.own, self.peer)
            self._rest += piece
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def end(self) -> None:
        self.closed = True
        self.arrived.put_nowait(None)
        self.acknowledged.set()


class _Connection:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults
    ) -> None:
        self._reader, self._writer, self.faults = reader, writer, faults
        self._streams: dict[int, _Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = 0

    async def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        if self.faults.deaf:
            return
        checksum = sum(data) & 0xFFFFFFFF
        head = (command, first, second, len(data), checksum, command ^ 0xFFFFFFFF)
        self._writer.write(struct.pack("<6I", *head) + data)
        await self._writer.drain()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def serve(self) -> None:
        try:
            while True:
                head = struct.unpack("<6I", await self._reader.readexactly(24))
                data = await self._reader.readexactly(head[3])
                await self._take(head[0], head[1], head[2], data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for stream in self._streams.values():
                stream.end()
            for task in self._tasks:
                task.cancel()
            self._writer.close()

    async def _take(self, command: int, first: int, second: int, data: bytes) -> None:
        stream = self._streams.get(second)
        if command in (_CNXN, _AUTH) and self.faults.unauthorized:
            # A signature is refused; after the public key the phone waits for its owner.
            if (command, first) != (_AUTH, 3):
                await self.send(_AUTH, 1, 0, os.urandom(20))
        elif command == _CNXN:
            await self.send(_CNXN, _VERSION, _PAYLOAD_BYTES, _BANNER)
        elif command == _OPEN:
            self._opened += 1
            opened = self._streams[self._opened] = _Stream(self, self._opened, first)
            task = asyncio.create_task(self._service(opened, data.rstrip(b"\0").decode()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif stream is not None and command == _OKAY:
            stream.acknowledged.set()
        elif stream is not None and command == _WRTE:
            stream.arrived.put_nowait(data)
        elif stream is not None and command == _CLSE:
            stream.end()
            del self._streams[second]

    async def _service(self, stream: _Stream, name: str) -> None:
        with contextlib.suppress(ConnectionError):
            if name.startswith("shell,v2"):
                await self.send(_OKAY, stream.own, stream.peer)
                await self._shell(stream, name.partition(":")[2])
            elif name.startswith("sync:"):
                await self.send(_OKAY, stream.own, stream.peer)
                await self._sync(stream)
            await self.send(_CLSE, stream.own, stream.peer)

    async def _shell(self, stream: _Stream, command: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | self.faults.environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None

        async def pump(source: asyncio.StreamReader, kind: int) -> None:
            while piece := await source.read(_PAYLOAD_BYTES // 2):
                await stream.write(struct.pack("<BI", kind, len(piece)) + piece)

        async def watch() -> None:
            # As adbd does: who closes the stream ends what runs in it.
            while await stream.arrived.get() is not None:
                pass
            _end(process.pid)

        watching = asyncio.create_task(watch())
        try:
            await asyncio.gather(pump(process.stdout, 1), pump(process.stderr, 2))
            code = await process.wait()
            await stream.write(struct.pack("<BIB", 3, 1, code if code >= 0 else 128 - code))
        finally:
            watching.cancel()
            _end(process.pid)

    async def _sync(self, stream: _Stream) -> None:
        request, length = struct.unpack("<4sI", await stream.read(8))
        if request != b"SEND":
            return
        path, _, mode = (await stream.read(length)).decode().rpartition(",")
        content, error = bytearray(), self.faults.send_error
        while True:
            kind, length = struct.unpack("<4sI", await stream.read(8))
            if kind == b"DONE":
                break
            content += await stream.read(length)
            limit = self.faults.deaf_after_bytes
            if limit is not None and len(content) > limit:
                self.faults.deaf = True
        if self.faults.spoils:
            content[0] ^= 1
        if not error:
            try:
                # Small enough in tests to do at once.
                Path(path).write_bytes(content)  # noqa: ASYNC240
                Path(path).chmod(int(mode) & 0o777)  # noqa: ASYNC240
            except OSError as failure:
                error = f"couldn't create file: {failure.strerror}"
        words = error.encode()
        await stream.write((b"FAIL" if error else b"OKAY") + struct.pack("<I", len(words)) + words)


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class Daemon:
    """The daemon in a thread of its own on a free port of this computer."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._connections: list[_Connection] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(self._listen)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        """What ``adb connect`` takes."""
        return f"127.0.0.1:{self.port}"

    def die(self) -> None:
        """End every connection, as a daemon does that crashes; it listens again at once."""

        async def drop() -> None:
            for connection in self._connections:
                connection.abort()
            self._connections.clear()

        self._call(drop)

    def stop(self) -> None:
        """Stop listening and end the thread."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.die()

        async def settle() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._call(settle)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self.faults)
        self._connections.append(connection)
        await connection.serve()

    def _call(self, work: Callable[[], Coroutine[None, None, _T]]) -> _T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)


@contextmanager
def adb_server() -> Iterator[int]:
    """A real adb server on a free port, with a home of its own; gives the port.

    Raises:
        NoAdb: the program is not here.
    """
    program = shutil.which("adb")
    if program is None:
        raise NoAdb("no adb here: install the Debian package adb, or Android's platform tools")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="adb-") as home:
        environment: Mapping[str, str] = os.environ | {
            "HOME": home,
            "ADB_VENDOR_KEYS": home,
            "ANDROID_ADB_SERVER_PORT": str(port),
            "TMPDIR": home,
        }

        def adb(command: str) -> None:
            subprocess.run(
                [program, "-P", str(port), command],
                env=environment,
                check=True,
                timeout=30,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        adb("start-server")
        try:
            yield port
        finally:
            adb("kill-server")
