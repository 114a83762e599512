"""Follows one of the facts that a driver tells about the device's state."""

import asyncio
import contextlib
import time

from distillfarm.agent.protocols import DeviceDriver, NotMeasured
from distillfarm.domain.errors import FarmError
from distillfarm.domain.measurement import Series, SeriesPoint

_PERIOD_S = 1.0


class ContextMeter:
    """A ``protocols.Meter`` that reads ``fact`` from ``DeviceDriver.context`` every second."""

    def __init__(self, quantity: str, fact: str, unit: str) -> None:
        self.quantity = quantity
        self._fact = fact
        self._unit = unit
        self._last = "the meter was not started"
        self._points: list[SeriesPoint] = []
        self._sampling: asyncio.Task[None] | None = None

    async def start(self, driver: DeviceDriver) -> None:
        """Read once, and go on if that gave a number."""
        self._points = []
        begin_s = time.monotonic()
        await self._read(driver, begin_s)
        if self._points:
            self._sampling = asyncio.create_task(self._sample(driver, begin_s))

    async def stop(self) -> Series | NotMeasured:
        """What was read, or what stood in place of a number."""
        if self._sampling is not None:
            self._sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sampling
            self._sampling = None
        if not self._points:
            return NotMeasured(self.quantity, self._last)
        return Series(self.quantity, self._unit, self._fact, tuple(self._points))

    async def _sample(self, driver: DeviceDriver, begin_s: float) -> None:
        while True:
            await asyncio.sleep(_PERIOD_S)
            try:
                await self._read(driver, begin_s)
            except FarmError as error:
                # The launches will tell of a device that went away; the meter keeps what it has.
                self._last = str(error)
                return

    async def _read(self, driver: DeviceDriver, begin_s: float) -> None:
        self._last = (await driver.context()).get(self._fact, "the driver does not tell")
        with contextlib.suppress(ValueError):
            self._points.append(SeriesPoint(time.monotonic() - begin_s, float(self._last)))
