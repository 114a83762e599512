"""Which devices hang on this agent now, each probed when it appears and then looked after."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from distillfarm.agent.protocols import Attached, DeviceSource
from distillfarm.domain.agent import HealthReport
from distillfarm.domain.errors import DeviceOffline, FarmError
from distillfarm.domain.hardware import DeviceHealth, DeviceInfo

_PROBE_AGAIN_S = 30.0
_HEALTH_S = 30.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Probed:
    """An attached device with what was found out about it."""

    attached: Attached
    info: DeviceInfo


class Inventory:
    """The attached devices by serial."""

    def __init__(self, sources: Sequence[DeviceSource]) -> None:
        self._sources = sources
        self._devices: dict[str, Probed] = {}
        self._appeared = asyncio.Event()

    def devices(self) -> tuple[DeviceInfo, ...]:
        """What is attached and was probed, in order of serial."""
        return tuple(self._devices[serial].info for serial in sorted(self._devices))

    def device(self, serial: str) -> Probed:
        """One device.

        Raises:
            DeviceOffline: it is not attached any more.
        """
        if serial not in self._devices:
            raise DeviceOffline(f"device {serial} is not attached; plug it in again")
        return self._devices[serial]

    async def watch(
        self, changed: Callable[[], None], tell: Callable[[HealthReport], None]
    ) -> None:
        """Follow every source for ever; cancel to end.

        ``changed`` is called after every change, ``tell`` every half minute with how they fare.
        """
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(self._follow(source, changed))
            tasks.create_task(self._look_after(tell))

    async def _look_after(self, tell: Callable[[HealthReport], None]) -> None:
        while True:
            self._appeared.clear()
            asked = [each.attached for each in self._devices.values()]
            told = await asyncio.gather(*(_health(each) for each in asked))
            if known := tuple(each for each in told if each is not None):
                tell(HealthReport(known))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEALTH_S):
                    await self._appeared.wait()

    async def _follow(self, source: DeviceSource, changed: Callable[[], None]) -> None:
        probes: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            async for present in source.watch():
                by_serial = {each.serial: each for each in present}
                for serial in probes.keys() - by_serial.keys():
                    probes.pop(serial).cancel()
                    if self._devices.pop(serial, None) is not None:
                        changed()
                for serial in by_serial.keys() - probes.keys():
                    probes[serial] = tasks.create_task(self._probe(by_serial[serial], changed))

    async def _probe(self, attached: Attached, changed: Callable[[], None]) -> None:
        while True:
            try:
                async with attached.driver as driver:
                    info = await driver.probe()
            except FarmError as error:
                _log.warning("probe failed", device=attached.serial, reason=str(error))
                await asyncio.sleep(_PROBE_AGAIN_S)
            else:
                self._devices[attached.serial] = Probed(attached, info)
                changed()
                self._appeared.set()
                return


async def _health(attached: Attached) -> DeviceHealth | None:
    if attached.health is None:
        return None
    try:
        return await attached.health()
    except FarmError as error:
        # It is going away, which its source will tell, or answers next time.
        _log.info("no word of its health", device=attached.serial, reason=str(error))
        return None
