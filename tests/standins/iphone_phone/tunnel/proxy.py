"""com.apple.internal.devicecompute.CoreDeviceProxy: a network of two, phone and computer.

After a handshake in JSON the connection carries IPv6 packets, one after the other. The phone's end
of that network is a process of its own for each tunnel, since its TCP is one to a process.
"""

import asyncio
import importlib
import json
import struct
from contextlib import suppress
from dataclasses import dataclass

from iphone_phone.device import Device
from iphone_phone.facts import Facts
from iphone_phone.tunnel import catalogue
from iphone_phone.tunnel.networks import Network, Networks
from iphone_phone.wire import Wire

_MAGIC = b"CDTunnel"
_LENGTH = struct.Struct(">H")
_LARGEST_PACKET_BYTES = 16_000
_IPV6_HEADER_BYTES, _IPV6_LENGTH_AT = 40, slice(4, 6)
_CHUNK_BYTES = 2**16
_NETMASK = "ffff:ffff:ffff:ffff::"
# A phone is a process of its own.
_NETWORKS = Networks()


@dataclass(frozen=True)
class Addresses:
    """The two of a tunnel; those of two phones are never the same."""

    phone: str
    host: str

    @classmethod
    def of(cls, facts: Facts) -> "Addresses":
        """A phone's."""
        network = f"fd57:8329:{facts.identity.chip_id:x}:{facts.number:x}::"
        return cls(f"{network}1", f"{network}2")


async def serve(device: Device, wire: Wire) -> None:
    """Hold the tunnel until the client goes.

    Raises:
        asyncio.IncompleteReadError: it has gone.
    """
    if await wire.exactly(len(_MAGIC)) != _MAGIC:
        return
    (length,) = _LENGTH.unpack(await wire.exactly(_LENGTH.size))
    request = json.loads(await wire.exactly(length))
    addresses = Addresses.of(device.facts)
    packet_bytes = min(int(request["mtu"]), _LARGEST_PACKET_BYTES)
    # The services' libraries load meanwhile: a client waits three seconds for their first word.
    network, _ = await asyncio.gather(
        _NETWORKS.take(_plan(device, addresses, packet_bytes)),
        asyncio.to_thread(importlib.import_module, "iphone_phone.tunnel.doors"),
    )
    coming = asyncio.create_task(_bring_packets_out(network, wire))
    try:
        await wire.send(_answer(addresses, packet_bytes))
        await _bring_packets_in(wire, network)
    finally:
        coming.cancel()
        await network.end()


def _plan(device: Device, addresses: Addresses, packet_bytes: int) -> bytes:
    # An image may be mounted later: whether a service is there is for its port to say.
    ports = [each.port for each in (catalogue.DISCOVERY, *catalogue.SERVICES)]
    return json.dumps(
        {
            "host": addresses.host,
            "packet_bytes": packet_bytes,
            "phone": addresses.phone,
            "ports": ports,
            "socket": str(device.inner_ports),
        }
    ).encode()


def _answer(addresses: Addresses, packet_bytes: int) -> bytes:
    body = json.dumps(
        {
            "clientParameters": {
                "address": addresses.host,
                "mtu": packet_bytes,
                "netmask": _NETMASK,
            },
            "serverAddress": addresses.phone,
            "serverRSDPort": catalogue.DISCOVERY_PORT,
            "type": "serverHandshakeResponse",
        }
    ).encode()
    return _MAGIC + _LENGTH.pack(len(body)) + body


async def _bring_packets_in(wire: Wire, network: Network) -> None:
    while True:
        header = await wire.exactly(_IPV6_HEADER_BYTES)
        (length,) = _LENGTH.unpack(header[_IPV6_LENGTH_AT])
        network.packets_in.write(header + await wire.exactly(length))
        await network.packets_in.drain()


async def _bring_packets_out(network: Network, wire: Wire) -> None:
    with suppress(ConnectionError):
        while packets := await network.packets_out.read(_CHUNK_BYTES):
            await wire.send(packets)
