"""com.apple.misagent: the provisioning profiles that came with apps; MCInstall: supervision."""

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


async def configuration(device: Device, wire: Wire) -> None:
    """com.apple.mobile.MCInstall: says whether somebody supervises the phone.

    Raises:
        asyncio.IncompleteReadError: the client has gone.
    """
    while True:
        request = await wire.plist()
        if request["RequestType"] == "GetCloudConfiguration":
            told = {"IsSupervised": bool(device.condition.supervisor)}
            await wire.answer({"Status": "Acknowledged", "CloudConfiguration": told})
        else:
            await wire.answer({"Status": "Error"})
