"""Devices come and go, are probed when they come, and how they fare is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from distillfarm.agent.inventory import Inventory
from distillfarm.agent.protocols import Attached, DeviceDriver, Window
from distillfarm.domain.agent import HealthReport
from distillfarm.domain.errors import DeviceOffline
from distillfarm.domain.hardware import Chipset, DeviceHealth, DeviceInfo, Platform
from distillfarm.domain.measurement import Energy


class QueuedSource:
    """Gives what the test puts into its queue."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[Attached, ...]] = asyncio.Queue()

    async def watch(self) -> AsyncIterator[tuple[Attached, ...]]:
        while True:
            yield await self.queue.get()


class Unmetered:
    async def start(self, driver: DeviceDriver) -> None:
        pass

    async def stop(self, windows: Sequence[Window]) -> Energy:
        return Energy(reason="none")


def probed_as(driver: DeviceDriver, serial: str) -> None:
    async def probe() -> DeviceInfo:
        return DeviceInfo(serial, Platform.ANDROID, "phone", Chipset("", "x"), "Android", "1", 8, 1)

    driver.probe = probe  # type: ignore[method-assign]


def attached(driver: DeviceDriver, serial: str, health: DeviceHealth | None) -> Attached:
    async def fares() -> DeviceHealth:
        if health is None:
            raise DeviceOffline("gone")
        return health

    return Attached(serial, driver, (), (), Unmetered(), health=fares)


async def until(told: "asyncio.Queue[object]") -> object:
    async with asyncio.timeout(10):
        return await told.get()


async def test_a_device_is_told_of_with_its_health_as_soon_as_it_was_probed(
    driver: DeviceDriver,
) -> None:
    probed_as(driver, "one")
    source, told = QueuedSource(), asyncio.Queue[object]()
    inventory = Inventory([source])
    watching = asyncio.create_task(
        inventory.watch(lambda: told.put_nowait(inventory.devices()), told.put_nowait)
    )
    try:
        await asyncio.sleep(0)
        health = DeviceHealth("one", 7.0, 80.0)
        source.queue.put_nowait((attached(driver, "one", health),))
        appeared = await until(told)
        assert isinstance(appeared, tuple)
        assert [each.serial for each in appeared] == ["one"]
        assert await until(told) == HealthReport((health,))
        source.queue.put_nowait(())
        assert await until(told) == ()
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def test_a_device_that_cannot_tell_its_health_keeps_no_other_from_it(
    driver: DeviceDriver,
) -> None:
    probed_as(driver, "one")
    source, told = QueuedSource(), asyncio.Queue[object]()
    watching = asyncio.create_task(Inventory([source]).watch(lambda: None, told.put_nowait))
    try:
        await asyncio.sleep(0)
        health = DeviceHealth("two", 7.0)
        both = attached(driver, "one", None), attached(driver, "two", health)
        source.queue.put_nowait(both)
        assert await until(told) == HealthReport((health,))
    finally:
        watching.cancel()
        await asyncio.wait([watching])
