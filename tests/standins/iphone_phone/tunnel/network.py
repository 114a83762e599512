"""A phone's end of a tunnel's network, as a process: packets at its input and output, TCP between.

The first line of its input is a ``Plan``, packets follow, and it ends with its input. A connection
to a port in the tunnel is passed on to a socket of the phone, as usbmuxd passes on its own.
"""

import asyncio
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from pmd_pytcp.socket import AF_INET6, SOCK_STREAM, socket
from pymobiledevice3.remote.userspace_tunnel import UserspaceTun

from iphone_phone import cable, stdin
from iphone_phone.wire import Wire

_HEADER_BYTES = 40
_LENGTH_AT = slice(4, 6)
_VERSION = 6
_CHUNK_BYTES = 2**16
_BACKLOG = 16
# Its own socket's calls are coroutines, which its types do not tell.
_Socket = Any


@dataclass(frozen=True)
class Plan:
    """The tunnel's two addresses, its largest packet, the phone's ports, and where they lead."""

    phone: str
    host: str
    packet_bytes: int
    ports: tuple[int, ...]
    socket: str


async def main() -> None:
    """Run until the input ends."""
    packets_in = await stdin.lines()
    if not (line := await packets_in.readline()):
        return
    plan = msgspec.json.decode(line, type=Plan)
    link = UserspaceTun("phone")
    link.addr, link.mtu = plan.phone, plan.packet_bytes
    await link.up()
    link.set_peer(plan.host)
    out = asyncio.create_task(_send_packets(link))
    listening = [asyncio.create_task(_listen(plan, port)) for port in plan.ports]
    # Each listens from its first step on.
    await asyncio.sleep(0)
    stdin.say("ready")
    with suppress(asyncio.IncompleteReadError):
        while True:
            header = await packets_in.readexactly(_HEADER_BYTES)
            (length,) = struct.unpack(">H", header[_LENGTH_AT])
            link.write(header + await packets_in.readexactly(length))
    for task in (out, *listening):
        task.cancel()


async def _send_packets(link: UserspaceTun) -> None:
    output = await stdin.output()
    while True:
        for packet in await link.async_read_batch():
            if packet and packet[0] >> 4 == _VERSION:
                output.write(packet)
        await output.drain()


async def _listen(plan: Plan, port: int) -> None:
    listener: _Socket = socket(AF_INET6, SOCK_STREAM)
    listener.bind((plan.phone, port))
    listener.listen(backlog=_BACKLOG)
    passing = set()
    while True:
        connection, _ = await listener.accept()
        task = asyncio.create_task(_pass_on(connection, port, plan.socket))
        passing.add(task)
        task.add_done_callback(passing.discard)


async def _pass_on(connection: _Socket, port: int, where: str) -> None:
    inside = Wire(*await asyncio.open_unix_connection(where))
    try:
        await inside.send(cable.PORT_FORM.pack(port))
        if await inside.exactly(1) == cable.OK:
            ways = (
                asyncio.create_task(_bring_in(connection, inside)),
                asyncio.create_task(_bring_out(inside, connection)),
            )
            # What the phone ends is over; what the client ends may still be answered.
            await ways[1]
            ways[0].cancel()
    except asyncio.IncompleteReadError:
        pass
    finally:
        inside.close()
        connection.close()


async def _bring_in(connection: _Socket, inside: Wire) -> None:
    with suppress(OSError):
        while data := await connection.recv(_CHUNK_BYTES):
            await inside.send(data)
    with suppress(OSError):
        inside.writer.write_eof()


async def _bring_out(inside: Wire, connection: _Socket) -> None:
    with suppress(OSError):
        while data := await inside.reader.read(_CHUNK_BYTES):
            await connection.send(data)


if __name__ == "__main__":
    asyncio.run(main())
