"""The process of one phone: ``python -m iphone_phone.device_main NAME NUMBER FOLDER HUB``.

It takes orders at its input, and ends with that.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from iphone_phone import lockdown, orders, stdin
from iphone_phone.cable import Cable
from iphone_phone.device import Device
from iphone_phone.identities import IDENTITIES, System
from iphone_phone.orders import Answer, Order
from iphone_phone.ports import Ports

# What a restart takes at least until usbmuxd lists the phone again; a real one takes a minute.
_RESTART_S = 0.5


class Standin:
    """A phone and its cable."""

    def __init__(self, device: Device, hub: Path) -> None:
        self._device = device
        self._ports = Ports(device, self._count)
        self._cable = Cable(hub, device.facts.udid, device.outer_ports)
        self._later: orders.PullCableLater | None = None
        self._received_bytes = 0
        self._pulling: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Be there, plugged in."""
        await self._ports.listen()
        self._cable.plug_in()

    async def end(self) -> None:
        """End what runs on it."""
        await self._device.end_apps()

    async def obey(self, order: Order) -> Answer:
        """Do what the owner says."""
        match order:
            case orders.Change(condition):
                self._device.change(condition)
            case orders.PullCable():
                await self._pull()
            case orders.PlugIn():
                self._later = None
                self._cable.plug_in()
            case orders.PullCableLater():
                self._later, self._received_bytes = order, 0
            case orders.CutTunnel():
                self._ports.reset(lockdown.TUNNEL_SERVICE)
            case orders.ForgetHosts():
                self._device.hosts.forget_all()
            case orders.Restart(version, build):
                await self._restart(version, build)
            case orders.Jetsam(bundle):
                if not await self._device.jetsam(bundle):
                    return Answer(f"{bundle} does not run")
            case orders.Erase():
                await self._device.erase()
        return Answer()

    async def _restart(self, version: str | None, build: str | None) -> None:
        await self._pull()
        system = self._device.facts.system
        await self._device.restart(System(version or system.version, build or system.build))
        self._device.change(replace(self._device.condition, image_mounted=False))
        await asyncio.sleep(_RESTART_S)
        self._cable.plug_in()

    async def _pull(self) -> None:
        await self._cable.pull()
        self._ports.reset()

    def _count(self, service: str, received_bytes: int) -> None:
        later = self._later
        if later is None or later.service != service:
            return
        self._received_bytes += received_bytes
        if self._received_bytes >= later.received_bytes:
            self._later = None
            self._pulling = asyncio.create_task(self._pull())


async def main() -> None:
    """Run until the input ends."""
    name, number, folder, hub = sys.argv[1:]
    standin = Standin(Device(IDENTITIES[name], int(number), Path(folder)), Path(hub))
    await standin.begin()
    owner = await stdin.lines()
    stdin.say("ready")
    while line := await owner.readline():
        answer = await standin.obey(orders.decode(line))
        stdin.say(orders.encode(answer).decode())
    await standin.end()


if __name__ == "__main__":
    asyncio.run(main())
