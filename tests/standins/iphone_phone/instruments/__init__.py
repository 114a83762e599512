"""Instruments: launch, watch and measure processes, over DTX.

pymobiledevice3's implementation of DTX speaks for both sides; go-ios, which shares no code with it,
holds this side to Apple's (tests/iphones).
"""

from pymobiledevice3.dtx import DTXConnection

from iphone_phone.device import Device
from iphone_phone.instruments.conditions import Conditions
from iphone_phone.instruments.energy import Energy
from iphone_phone.instruments.information import Information
from iphone_phone.instruments.instrument import DEVICE
from iphone_phone.instruments.processcontrol import ProcessControl
from iphone_phone.instruments.sysmon import Sysmon
from iphone_phone.wire import Wire

_INSTRUMENTS = (Conditions, Energy, Information, ProcessControl, Sysmon)
# What a phone publishes of itself: how it compresses, and its instruments' versions.
_CAPABILITIES = {
    "com.apple.private.DTXBlockCompression": 2,
    "com.apple.private.DTXConnection": 1,
    **{each.IDENTIFIER: 3 for each in _INSTRUMENTS},
}


async def serve(device: Device, wire: Wire) -> None:
    """Answer until the client goes."""
    connection = DTXConnection(wire.reader, wire.writer)
    connection.sent_capabilities = dict(_CAPABILITIES)
    connection.ctx[DEVICE] = device
    connection.register_services(*_INSTRUMENTS)
    try:
        await connection.connect()
        await connection.wait_disconnected()
    finally:
        await connection.aclose()
