"""com.apple.mobile.installation_proxy: installs, removes and lists apps, telling how far it is."""

from collections.abc import Mapping

from iphone_phone.apps import Installed, Refused
from iphone_phone.device import Device
from iphone_phone.services.conduit import Conduit
from iphone_phone.wire import Plist, Wire

_BEFORE = (
    ("CreatingStagingDirectory", 5),
    ("ExtractingPackage", 15),
    ("InspectingPackage", 20),
    ("PreflightingApplication", 30),
)
_AFTER = (
    ("VerifyingApplication", 40),
    ("CreatingContainer", 50),
    ("InstallingApplication", 60),
    ("PostflightingApplication", 70),
    ("GeneratingApplicationMap", 90),
)
_REFUSED_DETAIL = -402620395


async def serve(device: Device, wire: Wire) -> None:
    """Answer until the client goes.

    Raises:
        asyncio.IncompleteReadError: it has gone.
    """
    while True:
        request = await wire.plist()
        command, options = request.get("Command"), request.get("ClientOptions", {})
        match command:
            case "Browse":
                await _browse(device, wire, options)
            case "Lookup":
                found = {app.bundle: told for app, told in _matching(device, options)}
                await wire.answer({"LookupResult": found, "Status": "Complete"})
            case "Install" | "Upgrade":
                await _install(device, wire, request["PackagePath"])
            case "Uninstall":
                await _uninstall(device, wire, request["ApplicationIdentifier"])
            case "CheckCapabilitiesMatch":
                await wire.answer({"LookupResult": True, "Status": "Complete"})
            case _:
                await wire.answer({"Error": "UnknownCommand"})


def _matching(device: Device, options: Mapping[str, object]) -> list[tuple[Installed, Plist]]:
    bundles, names = options.get("BundleIDs"), options.get("ReturnAttributes")
    if options.get("ApplicationType") in ("System", "Hidden"):
        return []
    found = []
    for app in device.apps.all():
        if not isinstance(bundles, list) or app.bundle in bundles:
            told = app.told()
            if isinstance(names, list):
                told = {name: told[name] for name in names if name in told}
            found.append((app, told))
    return found


async def _browse(device: Device, wire: Wire, options: Mapping[str, object]) -> None:
    listed = [told for _, told in _matching(device, options)]
    if listed:
        await wire.answer(
            {
                "CurrentAmount": len(listed),
                "CurrentIndex": 0,
                "CurrentList": listed,
                "Status": "BrowsingApplications",
                "Total": len(listed),
            }
        )
    await wire.answer({"Status": "Complete"})


async def _install(device: Device, wire: Wire, place: str) -> None:
    await _tell(wire, _BEFORE)
    try:
        device.install(Conduit(device.media, device.identity).path(place))
    except Refused as refused:
        await wire.answer(
            {
                "Error": refused.error,
                "ErrorDescription": refused.description,
                "ErrorDetail": _REFUSED_DETAIL,
            }
        )
        return
    await _tell(wire, _AFTER)
    await wire.answer({"Status": "Complete"})


async def _uninstall(device: Device, wire: Wire, bundle: str) -> None:
    await device.uninstall(bundle)
    await _tell(wire, (("RemovingApplication", 50), ("GeneratingApplicationMap", 90)))
    await wire.answer({"Status": "Complete"})


async def _tell(wire: Wire, stages: tuple[tuple[str, int], ...]) -> None:
    for status, percent in stages:
        await wire.answer({"PercentComplete": percent, "Status": status})
