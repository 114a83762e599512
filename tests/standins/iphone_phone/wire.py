"""A connection's two ends of bytes, and the plists that most services send through it.

Written from the protocol, without a client's library, so that no client's mistake hides in it.
"""

import asyncio
import plistlib
import ssl
import struct
from typing import Any

# The protocols' own form: what a message holds is its service's matter.
Plist = dict[str, Any]
_LENGTH = struct.Struct(">I")


class Wire:
    """A connection, seen from the phone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def exactly(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            asyncio.IncompleteReadError: the client has gone.
        """
        return await self.reader.readexactly(count)

    async def plist(self) -> Plist:
        """The next message, behind its length.

        Raises:
            asyncio.IncompleteReadError: the client has gone.
        """
        (length,) = _LENGTH.unpack(await self.exactly(_LENGTH.size))
        message: Plist = plistlib.loads(await self.exactly(length))
        return message

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, message: Plist) -> None:
        """Send a message behind its length."""
        body = plistlib.dumps(message)
        await self.send(_LENGTH.pack(len(body)) + body)

    async def secure(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, as its server."""
        await self.writer.start_tls(context)

    def close(self) -> None:
        """End it; idempotent."""
        self.writer.close()
