"""Files over AFC: the media folder, an app's container, crash reports."""

from iphone_phone.device import Device
from iphone_phone.services.conduit import Conduit
from iphone_phone.wire import Wire


async def media(device: Device, wire: Wire) -> None:
    """com.apple.afc: what iTunes sees."""
    await Conduit(device.media, device.identity).serve(wire)


async def crash_reports(device: Device, wire: Wire) -> None:
    """com.apple.crashreportcopymobile: the reports' folder."""
    await Conduit(device.crashes.folder, device.identity).serve(wire)


async def move_crash_reports(device: Device, wire: Wire) -> None:
    """com.apple.crashreportmover: all reports are in their folder by now."""
    await wire.send(b"ping\0")


async def house_arrest(device: Device, wire: Wire) -> None:
    """com.apple.mobile.house_arrest: an app's container, or its documents alone."""
    request = await wire.plist()
    app = device.apps.find(request.get("Identifier", ""))
    if app is None:
        await wire.answer({"Error": "ApplicationLookupFailed"})
        return
    allowed = {
        "VendContainer": app.told()["Entitlements"].get("get-task-allow"),
        "VendDocuments": app.info.get("UIFileSharingEnabled"),
    }
    if not allowed.get(request.get("Command", "")):
        await wire.answer({"Error": "InstallationLookupFailed"})
        return
    await wire.answer({"Status": "Complete"})
    # Both name the documents as /Documents.
    await Conduit(app.container, device.identity).serve(wire)
