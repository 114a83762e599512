"""com.apple.misagent: the provisioning profiles that came with apps."""

from iphone_phone.device import Device
from iphone_phone.wire import Wire

_NOT_SUPPORTED = 0xE8008003


async def serve(device: Device, wire: Wire) -> None:
    """Answer until the client goes.

    Raises:
        asyncio.IncompleteReadError: it has gone.
    """
    while True:
        request = await wire.plist()
        if request["MessageType"] in ("Copy", "CopyAll"):
            payload = [app.profile for app in device.apps.all()]
            await wire.answer({"MessageType": "Response", "Payload": payload, "Status": 0})
        else:
            await wire.answer({"MessageType": "Response", "Status": _NOT_SUPPORTED})
