"""What lockdownd and the small services beside it tell; each question has its own session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymobiledevice3.exceptions import (
    InvalidServiceError,
    LockdownError,
    NotPairedError,
    PairingDialogResponsePendingError,
)
from pymobiledevice3.lockdown import LockdownClient, create_using_usbmux
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.services.misagent import MisagentService
from pymobiledevice3.services.mobile_config import MobileConfigService

from distillfarm.agent.drivers.ios.protocol import Condition, Identity, InstalledApp, Profile

_BATTERY, _DISK = "com.apple.mobile.battery", "com.apple.disk_usage"
# Apple's test systems without a telephone around them.
_VIRTUAL = "iPhone99,"


@asynccontextmanager
async def session(udid: str) -> AsyncIterator[LockdownClient]:
    """A session with a phone by cable; never asks it for trust, which would wait for a tap."""
    client = await create_using_usbmux(udid, connection_type="USB", autopair=False)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def trusted(udid: str) -> AsyncIterator[LockdownClient]:
    """A session with a phone that trusts this computer."""
    async with session(udid) as client:
        if not client.paired:
            raise NotPairedError("the phone does not trust this computer yet")
        yield client


async def identify(udid: str) -> Identity:
    """See ``protocol.Identify``."""
    async with session(udid) as client:
        told = client.all_values
        paired = client.paired
        return Identity(
            udid=udid,
            product=str(told.get("ProductType", "")),
            version=str(told.get("ProductVersion", "")),
            build=str(told.get("BuildVersion", "")),
            board=str(told.get("HardwareModel", "")),
            platform=str(told.get("HardwarePlatform", "")),
            name=str(told.get("DeviceName", "")),
            paired=paired,
            locked=await _value(client, "", "PasswordProtected") if paired else None,
            developer_mode=await client.get_developer_mode_status() if paired else None,
            firmware=str(told.get("FirmwareVersion", "")),
            baseband=str(told.get("BasebandVersion", "")),
            virtual=bool(told.get("IsVirtualDevice"))
            or str(told.get("ProductType", "")).startswith(_VIRTUAL),
        )


async def pair(udid: str) -> None:
    """See ``protocol.Pair``."""
    async with session(udid) as client:
        if client.paired:
            return
        try:
            await client.pair(timeout=0)
        except PairingDialogResponsePendingError:
            # The question is on the phone's screen now.
            return


async def supervision(udid: str) -> bool | None:
    """See ``protocol.Supervision``."""
    async with trusted(udid) as client:
        try:
            async with MobileConfigService(client) as service:
                told = await service.get_cloud_configuration()
        except InvalidServiceError:
            return None
    return None if told is None else bool(told.get("IsSupervised", False))


async def look(udid: str) -> Condition:
    """See ``protocol.Look``."""
    async with trusted(udid) as client:
        battery = await _domain(client, _BATTERY)
        disk = await _domain(client, _DISK)
        locked = await _value(client, "", "PasswordProtected")
        async with DiagnosticsService(client) as diagnostics:
            gauge = await diagnostics.get_battery() or {}
    hundredths = gauge.get("Temperature")
    return Condition(
        locked=locked,
        battery_percent=battery.get("BatteryCurrentCapacity"),
        charging=battery.get("BatteryIsCharging"),
        by_cable=battery.get("ExternalConnected"),
        battery_c=None if hundredths is None else hundredths / 100,
        cycles=gauge.get("CycleCount"),
        free_bytes=disk.get("AmountDataAvailable"),
    )


async def profiles(udid: str) -> tuple[Profile, ...]:
    """See ``protocol.Profiles``."""
    async with trusted(udid) as client, MisagentService(client) as service:
        found = await service.copy_all()
    return tuple(
        Profile(
            str(each.plist.get("Name", "")),
            str(each.plist.get("Entitlements", {}).get("application-identifier", "")),
            each.plist["ExpirationDate"].timestamp(),
        )
        for each in found
        if "ExpirationDate" in each.plist
    )


async def find_app(udid: str, bundle: str) -> InstalledApp | None:
    """See ``protocol.FindApp``."""
    async with trusted(udid) as client, InstallationProxyService(client) as service:
        found = (await service.get_apps("User", bundle_identifiers=[bundle])).get(bundle)
    if found is None:
        return None
    return InstalledApp(
        bundle, str(found.get("CFBundleVersion", "")), str(found.get("SignerIdentity", ""))
    )


async def install_app(udid: str, path: str) -> None:
    """See ``protocol.InstallApp``."""
    async with trusted(udid) as client, InstallationProxyService(client) as service:
        await service.install_from_local(Path(path), developer=True)


async def _domain(client: LockdownClient, domain: str) -> dict[str, Any]:
    told = await _value(client, domain, "")
    return told if isinstance(told, dict) else {}


async def _value(client: LockdownClient, domain: str, key: str) -> Any:
    """One of lockdownd's values; None where this phone has it not."""
    try:
        return await client.get_value(domain or None, key or None)
    except LockdownError:
        return None
