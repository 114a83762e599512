"""A phone's ports: lockdown's, and one for each start of a service."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from iphone_phone import cable, lockdown, pump
from iphone_phone.device import Device
from iphone_phone.hosts import Host
from iphone_phone.pump import Count, Service
from iphone_phone.services import CLASSIC
from iphone_phone.wire import Wire

_FIRST_PORT = 49200


@dataclass(frozen=True)
class Door:
    """A service that waits for one connection of a computer."""

    service: str
    host: Host


class Ports:
    """The ports of ``device`` at the socket ``path``; ``received`` counts what comes in."""

    def __init__(self, device: Device, path: Path, received: Count) -> None:
        self._device, self._path, self._received = device, path, received
        self._doors: dict[int, Door] = {}
        self._next_port = _FIRST_PORT
        self._open: dict[str, set[asyncio.StreamWriter]] = {}

    async def listen(self) -> None:
        """Take connections from now on."""
        await asyncio.start_unix_server(self._take, self._path)

    def open(self, service: str, host: Host) -> int:
        """A port at which this service takes one connection of this computer."""
        self._next_port += 1
        self._doors[self._next_port] = Door(service, host)
        return self._next_port

    def known(self, service: str) -> bool:
        """Whether there is such a service."""
        return service in CLASSIC

    def reset(self, service: str | None = None) -> None:
        """Reset every connection, or those to one service."""
        for name, writers in self._open.items():
            if service in (None, name):
                for writer in tuple(writers):
                    writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            (port,) = cable.PORT_FORM.unpack(await wire.exactly(cable.PORT_FORM.size))
            door = self._doors.pop(port, None)
            if port != lockdown.PORT and door is None:
                await wire.send(cable.REFUSED)
                wire.close()
                return
            await wire.send(cable.OK)
            name = lockdown.NAME if door is None else door.service
            self._open.setdefault(name, set()).add(writer)
            try:
                await self._serve(wire, door)
            finally:
                self._open[name].discard(writer)
        wire.close()

    async def _serve(self, wire: Wire, door: Door | None) -> None:
        if door is None:
            await lockdown.Lockdown(self._device, self).serve(wire)
            return
        await wire.secure(self._device.hosts.security(door.host))
        service: Service = CLASSIC[door.service]
        await pump.serve(self._device, door.service, service, wire, self._received)
