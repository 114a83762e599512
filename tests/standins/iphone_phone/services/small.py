"""Services of a message or two: heartbeat, notifications, developer mode."""

import asyncio

from iphone_phone.device import Device
from iphone_phone.wire import Wire

_BEAT_S = 1.0
_INTERVAL_S = 10
_REVEAL, _ENABLE = 0, 1


async def heartbeat(device: Device, wire: Wire) -> None:
    """com.apple.mobile.heartbeat: is anyone there?"""
    while True:
        await wire.answer({"Command": "Marco", "Interval": _INTERVAL_S})
        await wire.plist()
        await asyncio.sleep(_BEAT_S)


async def notifications(device: Device, wire: Wire) -> None:
    """com.apple.mobile.notification_proxy: takes observers, and has nothing to tell them."""
    while (await wire.plist()).get("Command") != "Shutdown":
        pass
    await wire.answer({"Command": "ProxyDeath"})


async def developer_mode(device: Device, wire: Wire) -> None:
    """com.apple.amfi.lockdown: shows the switch; only the user turns it, as there is a passcode."""
    request = await wire.plist()
    if request["action"] == _REVEAL:
        await wire.answer({"success": True})
    elif request["action"] == _ENABLE:
        await wire.answer({"Error": "Device has a passcode set"})
    else:
        await wire.answer({"Error": "Developer mode was not requested"})
