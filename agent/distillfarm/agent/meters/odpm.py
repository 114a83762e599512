"""Energy of a phone's processors and memory from its own power rails (ODPM).

A Pixel's power chips count the energy of each rail since the phone was started
(https://developer.android.com/studio/profile/power-profiler). Reading them starts a program on the
phone, which itself uses power: hence no oftener than every second, and idle power is measured with
the same readings.
"""

import re
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from distillfarm.agent.meters.integration import Point, Record
from distillfarm.agent.meters.sampled import NotMetered, SampledMeter

PERIOD_S = 1.0
_IDLE_S = 10.0
# Rails of what computes: processors and memory. Others are the display, radios and sensors, or
# carry the whole phone (VSYS_PWR_VBATT), of which these would be counted twice.
_COMPUTE = re.compile(r"CPU|GPU|G3D|TPU|NPU|MIF|DDR|MEM|VDD2[HL]|VDD_INT")
_NOT_COMPUTE = re.compile(r"VSYS_PWR|BATT|MODEM|WLAN")


@dataclass(frozen=True)
class Rail:
    """One rail's joules since the phone was started, known to ``quantum_j``.

    ``name`` is the schematic's, ``subsystem`` what it feeds, in the maker's word.
    """

    name: str
    subsystem: str
    joules: float
    quantum_j: float

    @property
    def computes(self) -> bool:
        """Whether it feeds processors or memory."""
        words = f"{self.name} {self.subsystem}".upper()
        return bool(_COMPUTE.search(words)) and not _NOT_COMPUTE.search(self.name.upper())


@dataclass(frozen=True)
class RailReading:
    """All rails at ``t_s`` on the agent's clock, known to ``unsure_s`` on either side."""

    t_s: float
    unsure_s: float
    rails: tuple[Rail, ...]


class RailReader(Protocol):
    """A driver's way to its device's rails."""

    async def read(self) -> RailReading:
        """One look.

        Raises:
            NotMetered: the device has no rails, or does not show them.
            FarmError: it cannot be asked.
        """


class OdpmMeter(SampledMeter):
    """An ``EnergyMeter`` over the rails that compute, summed."""

    def __init__(
        self, reader: RailReader, period_s: float = PERIOD_S, idle_s: float = _IDLE_S
    ) -> None:
        super().__init__(_Rails(reader, period_s, idle_s))


class _Rails:
    """The rails that compute; see ``sampled.Instrument``."""

    def __init__(self, reader: RailReader, period_s: float, idle_s: float) -> None:
        self.period_s = period_s
        self.idle_s = idle_s
        self._reader = reader
        self._looks: list[RailReading] = []

    async def begin(self) -> None:
        self._looks = []
        await self.read()

    async def read(self) -> float:
        look = await self._reader.read()
        chosen = tuple(rail for rail in look.rails if rail.computes)
        if not chosen:
            names = ", ".join(rail.name for rail in look.rails) or "none"
            raise NotMetered(f"no power rail of a processor among the phone's rails: {names}")
        if self._looks and [each.name for each in self._looks[-1].rails] != [
            each.name for each in chosen
        ]:
            raise NotMetered("the phone shows other power rails than before")
        self._looks.append(RailReading(look.t_s, look.unsure_s, chosen))
        return look.t_s

    def record(self) -> Record:
        curve = tuple(
            Point(look.t_s, sum(rail.joules for rail in look.rails)) for look in self._looks
        )
        if any(late.value < early.value for early, late in pairwise(curve)):
            raise NotMetered("a power rail's counter went back: the phone was started anew")
        last = self._looks[-1]
        names = ", ".join(rail.name for rail in last.rails)
        return Record(
            method=f"on-device power rails, sum of {names}",
            curve=curve,
            interval_s=statistics.median(late.t_s - early.t_s for early, late in pairwise(curve)),
            clock_s=max(look.unsure_s for look in self._looks),
            quantum_j=sum(rail.quantum_j for rail in last.rails),
        )

    async def end(self) -> None:
        """Nothing is held."""
