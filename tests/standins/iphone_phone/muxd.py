"""usbmuxd: lists the phones on its cables and passes connections on to their ports.

``python -m iphone_phone.muxd SOCKET HUB RECORDS`` until its input ends. Pair records lie in
RECORDS, as they do in /var/lib/lockdown. Written after
https://github.com/libimobiledevice/usbmuxd, src/usbmuxd-proto.h and src/client.c.
"""

import asyncio
import json
import plistlib
import socket
import struct
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from iphone_phone import cable, stdin
from iphone_phone.wire import Plist, Wire

_HEADER = struct.Struct("<IIII")
_PLIST_VERSION, _PLIST_MESSAGE = 1, 8
_CHUNK_BYTES = 2**16
_PRODUCT_ID = 0x12A8
_LOCATION = 0x01100000


class Result(IntEnum):
    """usbmuxd's."""

    OK = 0
    BAD_COMMAND = 1
    BAD_DEVICE = 2
    REFUSED = 3


@dataclass
class Plugged:
    """A phone on a cable; ``clients`` are connected through it."""

    number: int
    udid: str
    ports: Path
    clients: set[asyncio.StreamWriter] = field(default_factory=set)

    def attached(self) -> Plist:
        """How it is announced."""
        return {
            "DeviceID": self.number,
            "MessageType": "Attached",
            "Properties": {
                "ConnectionSpeed": 480000000,
                "ConnectionType": "USB",
                "DeviceID": self.number,
                "LocationID": _LOCATION + self.number,
                "ProductID": _PRODUCT_ID,
                "SerialNumber": self.udid,
                "UDID": self.udid,
            },
        }


class Muxd:
    """The daemon: its phones, and the clients that want to hear of them."""

    def __init__(self, records: Path) -> None:
        self._records = records
        self._plugged: dict[int, Plugged] = {}
        self._listeners: set[Client] = set()
        self._last_number = 0

    async def take_cable(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A phone is plugged in, until this connection ends."""
        said = json.loads(await reader.readline())
        self._last_number += 1
        phone = Plugged(self._last_number, said["udid"], Path(said["ports"]))
        self._plugged[phone.number] = phone
        await self._tell(phone.attached())
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        del self._plugged[phone.number]
        for client in tuple(phone.clients):
            client.transport.abort()
        await self._tell({"DeviceID": phone.number, "MessageType": "Detached"})

    async def take_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client until it goes."""
        client = Client(Wire(reader, writer))
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while (phone := await self._serve(client)) is None:
                    pass
                await _pass_on(client, *phone)
        finally:
            self._listeners.discard(client)
            client.wire.close()

    async def _serve(self, client: "Client") -> tuple[Plugged, Wire] | None:
        """Answer one request; a phone and the connection to it once that has been asked for."""
        request, tag = await client.receive()
        if request is None:
            await client.result(tag, Result.BAD_COMMAND)
            return None
        match request.get("MessageType"):
            case "ListDevices":
                listed = [phone.attached() for phone in self._plugged.values()]
                await client.send(tag, {"DeviceList": listed})
            case "ListListeners":
                await client.send(tag, {"ListenerList": []})
            case "Listen":
                await client.result(tag, Result.OK)
                for phone in tuple(self._plugged.values()):
                    await client.send(0, phone.attached())
                self._listeners.add(client)
            case "ReadBUID":
                await client.send(tag, {"BUID": self._buid()})
            case "ReadPairRecord" | "SavePairRecord" | "DeletePairRecord":
                await self._answer_record(client, tag, request)
            case "Connect":
                return await self._connect(client, tag, request)
            case _:
                await client.result(tag, Result.BAD_COMMAND)
        return None

    async def _connect(
        self, client: "Client", tag: int, request: Plist
    ) -> tuple[Plugged, Wire] | None:
        phone = self._plugged.get(request["DeviceID"])
        if phone is None:
            await client.result(tag, Result.BAD_DEVICE)
            return None
        try:
            through = Wire(*await asyncio.open_unix_connection(phone.ports))
            # The protocol has it in the network's order.
            port = socket.ntohs(request["PortNumber"])
            await through.send(cable.PORT_FORM.pack(port))
            result = await through.exactly(1)
        except (OSError, asyncio.IncompleteReadError):
            result = cable.REFUSED
        if result != cable.OK:
            await client.result(tag, Result.REFUSED)
            return None
        phone.clients |= {client.wire.writer, through.writer}
        await client.result(tag, Result.OK)
        return phone, through

    async def _answer_record(self, client: "Client", tag: int, request: Plist) -> None:
        path = self._records / f"{Path(request['PairRecordID']).name}.plist"
        match request["MessageType"]:
            case "ReadPairRecord" if path.exists():
                await client.send(tag, {"PairRecordData": path.read_bytes()})
            case "ReadPairRecord":
                await client.result(tag, Result.BAD_DEVICE)
            case "SavePairRecord":
                path.write_bytes(request["PairRecordData"])
                await client.result(tag, Result.OK)
            case _:
                path.unlink(missing_ok=True)
                await client.result(tag, Result.OK)

    def _buid(self) -> str:
        path = self._records / "SystemConfiguration.plist"
        if not path.exists():
            path.write_bytes(plistlib.dumps({"SystemBUID": str(uuid.uuid4()).upper()}))
        return str(plistlib.loads(path.read_bytes())["SystemBUID"])

    async def _tell(self, message: Plist) -> None:
        for listener in tuple(self._listeners):
            with suppress(ConnectionError):
                await listener.send(0, message)


class Client:
    """A program that speaks to the daemon."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def receive(self) -> tuple[Plist | None, int]:
        """Its next request and the number of that; None for what is none of today's protocol."""
        length, _, kind, tag = _HEADER.unpack(await self.wire.exactly(_HEADER.size))
        body = await self.wire.exactly(length - _HEADER.size)
        return (plistlib.loads(body) if kind == _PLIST_MESSAGE else None), tag

    async def send(self, tag: int, message: Plist) -> None:
        """Answer the request ``tag``; 0 for news."""
        body = plistlib.dumps(message)
        header = _HEADER.pack(_HEADER.size + len(body), _PLIST_VERSION, _PLIST_MESSAGE, tag)
        await self.wire.send(header + body)

    async def result(self, tag: int, result: Result) -> None:
        """Say how a request went."""
        await self.send(tag, {"MessageType": "Result", "Number": int(result)})


async def _pass_on(client: Client, phone: Plugged, through: Wire) -> None:
    """Pass bytes both ways until one side ends it."""
    try:
        ways = {
            asyncio.create_task(_copy(client.wire, through)),
            asyncio.create_task(_copy(through, client.wire)),
        }
        await asyncio.wait(ways)
    finally:
        phone.clients -= {client.wire.writer, through.writer}
        through.close()


async def _copy(source: Wire, sink: Wire) -> None:
    with suppress(ConnectionError):
        while data := await source.reader.read(_CHUNK_BYTES):
            await sink.send(data)
    with suppress(OSError):
        sink.writer.write_eof()


async def main() -> None:
    """Run until the input ends."""
    where, hub, records = map(Path, sys.argv[1:])
    daemon = Muxd(records)
    await asyncio.start_unix_server(daemon.take_cable, hub)
    await asyncio.start_unix_server(daemon.take_client, where)
    stdin.say("ready")
    await (await stdin.lines()).read()


if __name__ == "__main__":
    asyncio.run(main())
