"""com.apple.mobile.diagnostics_relay: the battery's registry entry, and no more than is known."""

from iphone_phone import battery
from iphone_phone.device import Device
from iphone_phone.wire import Plist, Wire

_BATTERY = frozenset({"AppleSmartBattery", "IOPMPowerSource"})


async def serve(device: Device, wire: Wire) -> None:
    """Answer until the client says goodbye or goes.

    Raises:
        asyncio.IncompleteReadError: it has gone.
    """
    while True:
        request = await wire.plist()
        await wire.answer(_answer(device, request))
        if request.get("Request") == "Goodbye":
            return


def _answer(device: Device, request: Plist) -> Plist:
    match request.get("Request"):
        case "IORegistry":
            asked = request.get("EntryClass") or request.get("EntryName")
            if asked not in _BATTERY:
                return _success({})
            return _success({"IORegistry": battery.registry(device.identity, device.condition)})
        case "MobileGestalt":
            return _success({"MobileGestalt": {"Status": "MobileGestaltDeprecated"}})
        case "All" | "GasGauge":
            return _success({"GasGauge": battery.gauge(device.identity)})
        case "Goodbye":
            return {"Status": "Success"}
        case _:
            return {"Status": "UnknownRequest"}


def _success(diagnostics: Plist) -> Plist:
    return {"Diagnostics": diagnostics, "Status": "Success"}
