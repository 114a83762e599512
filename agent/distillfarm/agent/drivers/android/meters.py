"""Series of a phone's temperature, throttling and charge over a job."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.state import State
from distillfarm.agent.protocols import DeviceDriver, Meter, NotMeasured
from distillfarm.domain.errors import FarmError
from distillfarm.domain.measurement import Series, SeriesPoint

# Every look starts programs on the phone: seldom, and beside those that the gates take anyway.
_PERIOD_S = 10.0


class StateMeter:
    """A ``protocols.Meter`` over the looks at one phone; ``read`` takes the number out of one."""

    def __init__(
        self,
        quantity: str,
        unit: str,
        method: str,
        phone: AndroidDriver,
        read: Callable[[State], float | None],
    ) -> None:
        self.quantity = quantity
        self._unit, self._method = unit, method
        self._phone = phone
        self._read = read
        self._begin_s: float | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self, driver: DeviceDriver) -> None:
        """See ``protocols.Meter``."""
        del driver
        self._begin_s = time.monotonic()
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> Series | NotMeasured:
        """What was seen since the start; why nothing was."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
        if self._begin_s is None:
            return NotMeasured(self.quantity, "the meter was not started")
        seen = [
            (at_s - self._begin_s, self._read(state))
            for at_s, state in self._phone.looks(self._begin_s)
        ]
        points = tuple(SeriesPoint(at_s, value) for at_s, value in seen if value is not None)
        if not points:
            return NotMeasured(self.quantity, "the phone does not tell")
        return Series(self.quantity, self._unit, self._method, points)

    async def _look(self) -> None:
        while True:
            try:
                await self._phone.look(newer_than_s=_PERIOD_S / 2)
            except FarmError:
                # The launches will tell of a phone that went away; what was seen is kept.
                return
            await asyncio.sleep(_PERIOD_S)


def meters(phone: AndroidDriver) -> tuple[Meter, ...]:
    """All that a look tells and that changes during a job."""
    return (
        StateMeter("temperature", "°C", "thermal service", phone, lambda state: state.body_c),
        StateMeter("throttling", "level", "thermal status", phone, _throttling),
        StateMeter("battery", "%", "battery service", phone, _percent),
    )


def _throttling(state: State) -> float | None:
    return None if state.throttling is None else float(state.throttling)


def _percent(state: State) -> float | None:
    return state.battery.percent if state.battery else None
