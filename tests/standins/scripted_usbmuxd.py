"""A usbmuxd that lists what a test says."""

import asyncio
import plistlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_HEADER = struct.Struct("<4I")


class ScriptedUsbmuxd:
    """Lists ``phones``: UDIDs with how each is connected; answers nothing while ``silent``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.phones: dict[str, str] = {}
        self.silent = False
        self.raw: bytes | None = None
        self.asked = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """Answer nobody; the socket's file stays, as a killed daemon leaves it."""
        if self._server is not None:
            self._server.close()
            self._server = None
            # Python removes it; a daemon that is killed does not.
            self.path.touch()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length, _, _, tag = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        question = plistlib.loads(await reader.readexactly(length - _HEADER.size))
        self.asked += 1
        if self.silent:
            await asyncio.sleep(3600)
        assert question["MessageType"] == "ListDevices"
        body = self.raw if self.raw is not None else plistlib.dumps({"DeviceList": self._list()})
        writer.write(_HEADER.pack(_HEADER.size + len(body), 1, 8, tag) + body)
        await writer.drain()
        writer.close()

    def _list(self) -> list[dict[str, object]]:
        return [
            {
                "MessageType": "Attached",
                "DeviceID": number,
                "Properties": {"SerialNumber": udid, "ConnectionType": way, "DeviceID": number},
            }
            for number, (name, way) in enumerate(self.phones.items(), 1)
            for udid in [name.rstrip("~")]
        ]


@asynccontextmanager
async def scripted_usbmuxd(path: Path) -> AsyncIterator[ScriptedUsbmuxd]:
    """One that runs."""
    made = ScriptedUsbmuxd(path)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
