"""Which devices hang on this agent now, each probed when it appears."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from distillfarm.agent.plugins import DriverPlugin
from distillfarm.domain.errors import DeviceOffline, FarmError
from distillfarm.domain.hardware import DeviceInfo

_REPROBE_S = 30.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Attached:
    """A device that was probed, with the plug-in that drives it."""

    plugin: DriverPlugin
    info: DeviceInfo


class Inventory:
    """The attached devices by serial."""

    def __init__(self, plugins: Sequence[DriverPlugin]) -> None:
        self._plugins = plugins
        self._devices: dict[str, Attached] = {}

    def devices(self) -> tuple[DeviceInfo, ...]:
        """What is attached and was probed, in order of serial."""
        return tuple(self._devices[serial].info for serial in sorted(self._devices))

    def attached(self, serial: str) -> Attached:
        """One device.

        Raises:
            DeviceOffline: it is not attached any more.
        """
        if serial not in self._devices:
            raise DeviceOffline(f"device {serial} is not attached; plug it in again")
        return self._devices[serial]

    async def watch(self, changed: Callable[[], None]) -> None:
        """Follow every plug-in for ever and call ``changed`` after every change; cancel to end."""
        async with asyncio.TaskGroup() as tasks:
            for plugin in self._plugins:
                tasks.create_task(self._follow(plugin, changed))

    async def _follow(self, plugin: DriverPlugin, changed: Callable[[], None]) -> None:
        probes: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            async for serials in plugin.attached():
                for serial in probes.keys() - set(serials):
                    probes.pop(serial).cancel()
                    if self._devices.pop(serial, None) is not None:
                        changed()
                for serial in set(serials) - probes.keys():
                    probes[serial] = tasks.create_task(self._probe(plugin, serial, changed))

    async def _probe(self, plugin: DriverPlugin, serial: str, changed: Callable[[], None]) -> None:
        while True:
            try:
                async with plugin.open(serial) as driver:
                    info = await driver.probe()
            except FarmError as error:
                _log.warning("probe failed, trying again", device=serial, reason=str(error))
                await asyncio.sleep(_REPROBE_S)
            else:
                self._devices[serial] = Attached(plugin, info)
                changed()
                return
