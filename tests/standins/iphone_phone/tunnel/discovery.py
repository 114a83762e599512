"""Remote service discovery: what the phone is, and where its services are in the tunnel."""

import uuid

from pymobiledevice3.remote.xpc_message import XpcUInt64Type

from iphone_phone.device import Device
from iphone_phone.facts import Facts
from iphone_phone.tunnel import catalogue
from iphone_phone.tunnel.catalogue import Offered, Speaks
from iphone_phone.tunnel.remote_xpc import RemoteXpc
from iphone_phone.wire import Plist, Wire

_PROTOCOL = 5
_VERSION_FLAGS = 0x0100000000000006
# The right that a client needs of the phone's own programs.
_ENTITLEMENT = "com.apple.mobile.lockdown.remote.trusted"


async def serve(device: Device, wire: Wire) -> None:
    """Introduce the phone, and hold the connection until the client goes.

    Raises:
        asyncio.IncompleteReadError: it has gone.
    """
    async for _ in RemoteXpc(wire, _introduction(device)).messages():
        # The client's introduction asks for nothing.
        pass


def _introduction(device: Device) -> Plist:
    return {
        "MessageType": "Handshake",
        "MessagingProtocolVersion": XpcUInt64Type(_PROTOCOL),
        "Properties": _properties(device.facts),
        "Services": {each.name: _entry(each) for each in catalogue.offered(device)},
        "UUID": uuid.uuid4(),
    }


def _properties(facts: Facts) -> Plist:
    identity = facts.identity
    return {
        "BoardId": XpcUInt64Type(identity.board_id),
        "BuildVersion": facts.system.build,
        "CPUArchitecture": "arm64e",
        "ChipID": XpcUInt64Type(identity.chip_id),
        "DeviceClass": "iPhone",
        "HardwareModel": identity.board,
        "HardwarePlatform": identity.platform,
        "HumanReadableProductVersionString": facts.system.version,
        "IsVirtualDevice": False,
        "OSVersion": facts.system.version,
        "ProductName": "iPhone OS",
        "ProductType": identity.product_type,
        "RemoteXPCVersionFlags": XpcUInt64Type(_VERSION_FLAGS),
        "SerialNumber": facts.serial_number,
        "ThinningProductType": identity.product_type,
        "UniqueChipID": XpcUInt64Type(facts.unique_chip_id),
        "UniqueDeviceID": facts.udid,
    }


def _entry(offered: Offered) -> Plist:
    xpc = {"ServiceVersion": XpcUInt64Type(1), "UsesRemoteXPC": True}
    return {
        "Entitlement": _ENTITLEMENT,
        "Port": str(offered.port),
        "Properties": xpc if offered.speaks is Speaks.XPC else {},
    }
