"""Which service takes a connection to a port in the tunnel."""

from iphone_phone.device import Device
from iphone_phone.instruments import serve as instruments
from iphone_phone.lockdown import Lockdown
from iphone_phone.pump import Service
from iphone_phone.services import CLASSIC
from iphone_phone.tunnel import appservice, catalogue, discovery
from iphone_phone.tunnel.catalogue import Offered, Speaks
from iphone_phone.tunnel.shim import behind_check_in
from iphone_phone.wire import Wire

_OWN: dict[str, Service] = {
    catalogue.APPS: appservice.serve,
    catalogue.DISCOVERY.name: discovery.serve,
    catalogue.INSTRUMENTS: instruments,
}


def at(device: Device, port: int) -> tuple[str, Service] | None:
    """What a fault names the service by that is at a port now, and the service."""
    offered = catalogue.at(device, port)
    return None if offered is None else (offered.base, _service(offered))


def _service(offered: Offered) -> Service:
    if offered.speaks is not Speaks.SHIM:
        return _OWN[offered.base]
    service = _lockdown if offered.base == catalogue.LOCKDOWN else CLASSIC[offered.base]
    return behind_check_in(offered.base, service)


async def _lockdown(device: Device, wire: Wire) -> None:
    await Lockdown(device).serve(wire)
