"""An energy meter around an instrument that is read again and again, idle first, then at work."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Protocol

from distillfarm.agent.meters.integration import Record, Stretch, energy_of
from distillfarm.agent.protocols import DeviceDriver, Window
from distillfarm.domain.errors import FarmError
from distillfarm.domain.measurement import Energy

# How long the reading after the idle time, or after the last inference, may take.
_READING_S = 15.0


class NotMetered(Exception):
    """Why there is no energy to tell; an answer, not a fault."""


class Instrument(Protocol):
    """What a meter reads: every ``period_s``, and for ``idle_s`` before the job begins.

    Order of calls: ``begin``, ``read`` often, ``record``, ``end``; the last one always.
    """

    period_s: float
    idle_s: float

    async def begin(self) -> None:
        """Find out whether it can be read.

        Raises:
            NotMetered: it is not there, or shows something else than the device's energy.
            FarmError: the device cannot be asked.
        """

    async def read(self) -> float:
        """Take and keep one reading; its seconds on the agent's monotonic clock.

        Raises:
            NotMetered: from now on it does not show the device's energy any more.
            FarmError: the device cannot be asked.
        """

    def record(self) -> Record:
        """What was read since ``begin``.

        Raises:
            NotMetered: too little, or nothing that can be believed.
        """

    async def end(self) -> None:
        """Let go of it; idempotent, safe without ``begin``."""


class SampledMeter:
    """A ``protocols.EnergyMeter`` over one instrument.

    ``refusal`` is why it will not tell anything, empty while it measures.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.refusal = "the meter was not started"
        self._instrument = instrument
        self._idle: Stretch | None = None
        self._sampling: asyncio.Task[None] | None = None

    async def start(self, driver: DeviceDriver) -> None:
        """See ``protocols.EnergyMeter``; the idle time passes in here."""
        del driver
        began = False
        try:
            await self._instrument.begin()
            begin_s = time.monotonic()
            async with asyncio.timeout(self._instrument.idle_s + _READING_S):
                await self._read_until(begin_s + self._instrument.idle_s)
            self._idle = Stretch(begin_s, time.monotonic())
            began = True
        except TimeoutError:
            self.refusal = f"no reading within {_READING_S:g} s after the idle time"
        except (NotMetered, FarmError) as error:
            self.refusal = str(error)
        finally:
            if not began:
                await self._instrument.end()
        if began:
            self.refusal = ""
            self._sampling = asyncio.create_task(self._sample())

    async def stop(self, windows: Sequence[Window]) -> Energy:
        """See ``protocols.EnergyMeter``."""
        if self._sampling is None:
            return Energy(reason=self.refusal)
        sampling, self._sampling = self._sampling, None
        sampling.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await sampling
            if not self.refusal:
                # Without one after them the last inferences would not be covered; the next may be
                # one that has waited to be read.
                async with asyncio.timeout(_READING_S):
                    await self._reach(max((each.end_s for each in windows), default=0.0))
                return energy_of(self._instrument.record(), windows, self._idle)
        except TimeoutError:
            self.refusal = f"no reading within {_READING_S:g} s after the last inference"
        except (NotMetered, FarmError) as error:
            self.refusal = str(error)
        finally:
            await self._instrument.end()
        return Energy(reason=self.refusal)

    async def _read_until(self, end_s: float) -> None:
        await self._instrument.read()
        while time.monotonic() < end_s:
            await asyncio.sleep(self._instrument.period_s)
            await self._instrument.read()

    async def _reach(self, moment_s: float) -> None:
        """Read up to a reading of that moment or later, past those that waited to be read."""
        read_s = await self._instrument.read()
        while read_s < moment_s:
            await asyncio.sleep(self._instrument.period_s)
            read_s = await self._instrument.read()

    async def _sample(self) -> None:
        try:
            await self._read_until(float("inf"))
        except (NotMetered, FarmError) as error:
            self.refusal = str(error)
