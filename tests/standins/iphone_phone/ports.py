"""A phone's ports: lockdown's, one for each start of a service, and those inside the tunnel."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from iphone_phone import cable, lockdown, pump
from iphone_phone.device import Device
from iphone_phone.hosts import Host
from iphone_phone.pump import Count
from iphone_phone.services import CLASSIC
from iphone_phone.wire import Wire

_FIRST_PORT = 49200


@dataclass(frozen=True)
class Answering:
    """Who takes a connection: what a fault names it by, and what it does."""

    name: str
    serve: Callable[[Wire], Awaitable[None]]


class Ports:
    """The ports of ``device``; ``received`` counts what services get."""

    def __init__(self, device: Device, received: Count) -> None:
        self._device, self._received = device, received
        self._doors: dict[int, Answering] = {}
        self._next_port = _FIRST_PORT
        self._open: dict[str, set[asyncio.StreamWriter]] = {}

    async def listen(self) -> None:
        """Take connections from now on."""
        outside, inside = self._device.outer_ports, self._device.inner_ports
        await asyncio.start_unix_server(lambda *ends: self._take(self._outside, *ends), outside)
        await asyncio.start_unix_server(lambda *ends: self._take(self._inside, *ends), inside)

    def open(self, service: str, host: Host) -> int:
        """A port at which this service takes one connection of this computer."""

        async def serve(wire: Wire) -> None:
            await wire.secure(self._device.hosts.security(host))
            await pump.serve(self._device, service, CLASSIC[service], wire, self._received)

        self._next_port += 1
        self._doors[self._next_port] = Answering(service, serve)
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

    def _outside(self, port: int) -> Answering | None:
        if port == lockdown.PORT:
            return Answering(lockdown.NAME, lockdown.Lockdown(self._device, self).serve)
        return self._doors.pop(port, None)

    def _inside(self, port: int) -> Answering | None:
        # Its libraries load with the first tunnel.
        from iphone_phone.tunnel import doors  # noqa: PLC0415 - see above

        if (found := doors.at(self._device, port)) is None:
            return None
        name, service = found

        async def serve(wire: Wire) -> None:
            await pump.serve(self._device, name, service, wire, self._received)

        return Answering(name, serve)

    async def _take(
        self,
        find: Callable[[int], Answering | None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        wire = Wire(reader, writer)
        # Cancelled is who is still connected when the phone ends; asyncio would complain of it.
        with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            (port,) = cable.PORT_FORM.unpack(await wire.exactly(cable.PORT_FORM.size))
            answering = find(port)
            await wire.send(cable.REFUSED if answering is None else cable.OK)
            if answering is not None:
                opened = self._open.setdefault(answering.name, set())
                opened.add(writer)
                try:
                    await answering.serve(wire)
                finally:
                    opened.discard(writer)
        wire.close()
