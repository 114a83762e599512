"""A service behind a connection: its bytes pass here, are counted, and stop while it is silent."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from iphone_phone.device import Device
from iphone_phone.wire import Wire

Service = Callable[[Device, Wire], Awaitable[None]]
Count = Callable[[str, int], None]

_CHUNK_BYTES = 2**16
# A service that the client has left may finish what it does.
_LEAVE_S = 2.0


async def serve(
    device: Device, name: str, service: Service, outside: Wire, received: Count
) -> None:
    """Serve one connection until either side ends it; ``received`` is told how much came in."""
    near, far = socket.socketpair()
    inside = Wire(*await asyncio.open_connection(sock=near))
    bridge = Wire(*await asyncio.open_connection(sock=far))
    serving = asyncio.create_task(_serve(device, service, inside))
    coming = asyncio.create_task(_bring_in(outside, bridge, name, received))
    going = asyncio.create_task(_bring_out(bridge, outside, device, name))
    tasks = (serving, coming, going)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            # What it said last has to arrive.
            await going
        else:
            await asyncio.wait((serving,), timeout=_LEAVE_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wire in (inside, bridge, outside):
            wire.close()


async def _serve(device: Device, service: Service, inside: Wire) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await service(device, inside)
    inside.close()


async def _bring_in(outside: Wire, bridge: Wire, name: str, received: Count) -> None:
    received(name, 0)
    with suppress(ConnectionError):
        while data := await outside.reader.read(_CHUNK_BYTES):
            await bridge.send(data)
            received(name, len(data))
        bridge.writer.write_eof()


async def _bring_out(bridge: Wire, outside: Wire, device: Device, name: str) -> None:
    with suppress(ConnectionError):
        while data := await bridge.reader.read(_CHUNK_BYTES):
            await device.heard(name)
            await outside.send(data)
