"""The phone's end of its cable: where usbmuxd finds it, and the connections that come through.

To usbmuxd the phone says its UDID and where its ports are; while that connection lasts it is
plugged in. Each connection begins with the port's number and is answered by usbmuxd's own result.
"""

import asyncio
import json
import struct
from contextlib import suppress
from pathlib import Path

OK, REFUSED = b"\0", b"\3"
PORT_FORM = struct.Struct(">H")
_RETRY_S = 0.05


class Cable:
    """A phone's cable to the usbmuxd that listens at ``hub``."""

    def __init__(self, hub: Path, udid: str, ports: Path) -> None:
        self._hub, self._udid, self._ports = hub, udid, ports
        self._held: asyncio.Task[None] | None = None

    def plug_in(self) -> None:
        """Be found from now on, by every usbmuxd that comes up there; idempotent."""
        if self._held is None:
            self._held = asyncio.create_task(self._hold())

    async def pull(self) -> None:
        """Be found no more; idempotent."""
        held, self._held = self._held, None
        if held is not None:
            held.cancel()
            with suppress(asyncio.CancelledError):
                await held

    async def _hold(self) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(self._hub)
                try:
                    said = {"udid": self._udid, "ports": str(self._ports)}
                    writer.write(json.dumps(said).encode() + b"\n")
                    await reader.read()
                finally:
                    writer.transport.abort()
            # That usbmuxd has ended, or is not there yet.
            await asyncio.sleep(_RETRY_S)
