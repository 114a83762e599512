"""What Instruments sees of a launched app, and why there is no energy."""

import time
from collections.abc import Callable, Sequence

from distillfarm.agent.drivers.ios.driver import IosDriver
from distillfarm.agent.drivers.ios.protocol import Usage
from distillfarm.agent.protocols import DeviceDriver, Meter, NotMeasured, Window
from distillfarm.domain.errors import FarmError
from distillfarm.domain.measurement import Energy, Series, SeriesPoint

METHOD = "Instruments sysmontap"
UNMEASURED = (
    "an iPhone is measured on its cable, which feeds it, and iOS tells no power of its parts: "
    "energy needs a meter between them"
)


class UsageMeter:
    """A ``protocols.Meter`` over the app's use of memory or processor."""

    def __init__(
        self, phone: IosDriver, quantity: str, unit: str, read: Callable[[Usage], float]
    ) -> None:
        self.quantity = quantity
        self._phone = phone
        self._unit = unit
        self._read = read
        self._began_s: float | None = None

    async def start(self, driver: DeviceDriver) -> None:
        """See ``protocols.Meter``."""
        del driver
        self._began_s = time.monotonic()

    async def stop(self) -> Series | NotMeasured:
        """What was seen since the start; why nothing was."""
        began_s, self._began_s = self._began_s, None
        if began_s is None:
            return NotMeasured(self.quantity, "the meter was not started")
        try:
            seen = await self._phone.usages(began_s)
        except FarmError as error:
            return NotMeasured(self.quantity, str(error))
        if not seen:
            return NotMeasured(self.quantity, "the launches were shorter than a sample")
        points = tuple(SeriesPoint(each.at_s - began_s, self._read(each)) for each in seen)
        return Series(self.quantity, self._unit, METHOD, points)


class UnmeasuredEnergy:
    """An ``EnergyMeter`` that says why there is none."""

    async def start(self, driver: DeviceDriver) -> None:
        """See ``protocols.EnergyMeter``."""

    async def stop(self, windows: Sequence[Window]) -> Energy:
        """See ``protocols.EnergyMeter``."""
        del windows
        return Energy(reason=UNMEASURED)


def meters(phone: IosDriver) -> tuple[Meter, ...]:
    """All that changes during a job and that Instruments tells."""
    return (
        UsageMeter(phone, "physFootprint", "bytes", lambda usage: float(usage.footprint_bytes)),
        UsageMeter(phone, "cpu", "%", lambda usage: usage.cpu_percent),
    )
