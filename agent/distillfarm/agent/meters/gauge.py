"""Energy of a whole phone from its battery's gauge, while nothing but the battery feeds it.

Gauges differ: milliamperes or microamperes, either sign, a new value every 1 to 7 s. All of that is
found out from the readings of the job itself.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from distillfarm.agent.meters.integration import Point, Record, cumulative
from distillfarm.agent.meters.sampled import NotMetered, SampledMeter

PERIOD_S = 1.0
_IDLE_S = 20.0
# A phone that is awake draws between 20 mA and 10 A. Read in the wrong unit, none does.
_LEAST_MA, _MOST_MA = 20.0, 10_000.0
_LEAST_CHANGES = 3
# Lithium cells; dumpsys tells millivolts.
_LEAST_V, _MOST_V = 2.5, 5.0
# The phone's clock against the agent's, see ``AppRun.clock_offset_s``.
CLOCK_S = 0.01


@dataclass(frozen=True)
class GaugeReading:
    """One look at the battery at ``t_s`` on the agent's clock, known to ``unsure_s``.

    ``current`` is as the gauge tells it, None where it does not. ``status`` is ``discharging`` or
    another word of the battery service; ``sources`` feed the phone; ``simulated`` says that the
    service was told to pretend.
    """

    t_s: float
    unsure_s: float
    current: int | None
    voltage_mv: int | None
    status: str
    sources: tuple[str, ...]
    simulated: bool


class GaugeReader(Protocol):
    """A driver's way to its device's battery."""

    async def read(self) -> GaugeReading:
        """One look.

        Raises:
            NotMetered: there is no battery.
            FarmError: the device cannot be asked.
        """


class BatteryGaugeMeter(SampledMeter):
    """An ``EnergyMeter`` of everything that the battery feeds, the screen and radios included."""

    def __init__(
        self, reader: GaugeReader, period_s: float = PERIOD_S, idle_s: float = _IDLE_S
    ) -> None:
        super().__init__(_Gauge(reader, period_s, idle_s))


class _Gauge:
    """The battery's gauge; see ``sampled.Instrument``."""

    def __init__(self, reader: GaugeReader, period_s: float, idle_s: float) -> None:
        self.period_s = period_s
        self.idle_s = idle_s
        self._reader = reader
        self._looks: list[GaugeReading] = []

    async def begin(self) -> None:
        self._looks = []
        await self.read()

    async def read(self) -> float:
        look = await self._reader.read()
        trouble = why_not(look)
        if trouble:
            raise NotMetered(trouble)
        self._looks.append(look)
        return look.t_s

    def record(self) -> Record:
        unit, milliamperes = calibrated([each.current or 0 for each in self._looks])
        changes = changed(milliamperes)
        if len(changes) < _LEAST_CHANGES:
            raise NotMetered(
                f"the battery's gauge showed {len(changes)} new values in "
                f"{self._looks[-1].t_s - self._looks[0].t_s:.0f} s; "
                f"need {_LEAST_CHANGES} to tell how often it has one"
            )
        times_s = [self._looks[index].t_s for index in changes]
        gaps_s = [late - early for early, late in pairwise(times_s)]
        # A value counts from where it was new; in between the gauge only repeated it.
        shown = [0, *changes, len(self._looks) - 1]
        watts = [
            Point(self._looks[index].t_s, milliamperes[index] / 1e3 * _volts(self._looks[index]))
            for index in dict.fromkeys(shown)
        ]
        refresh_s = statistics.median(gaps_s)
        return Record(
            method=f"battery gauge in {unit}, discharging, new values every {refresh_s:.2g} s "
            f"(at most {max(gaps_s):.2g} s)",
            curve=cumulative(watts),
            interval_s=refresh_s,
            # It shows what was drawn up to one of its own intervals ago.
            clock_s=max(gaps_s) + max(each.unsure_s for each in self._looks) + CLOCK_S,
        )

    async def end(self) -> None:
        """Nothing is held."""


def why_not(look: GaugeReading) -> str:
    """Why this look does not show what the phone uses; empty where it does."""
    if look.simulated:
        return (
            "the battery service was told to pretend (UPDATES STOPPED): `cmd battery unplug` cuts "
            "no power; run `cmd battery reset`"
        )
    if look.sources:
        return (
            f"{' and '.join(look.sources)} feeds the phone, so the gauge shows charging; measure "
            "over Wi-Fi, or cut the hub's power"
        )
    if look.status != "discharging":
        return f"the battery is {look.status or 'in an unknown state'}, not discharging"
    if not look.current:
        return "the battery's gauge shows no current"
    if look.voltage_mv is None or not _LEAST_V <= look.voltage_mv / 1e3 <= _MOST_V:
        return f"the battery's voltage of {look.voltage_mv} mV cannot be that of one cell"
    return ""


def calibrated(currents: Sequence[int]) -> tuple[str, tuple[float, ...]]:
    """The gauge's unit, and its currents in mA, positive where the battery is drained.

    The sign is the one that it shows while discharging, whichever that is.

    Raises:
        NotMetered: the sign changes, or no unit makes them what a phone draws.
    """
    signs = {current > 0 for current in currents}
    if len(signs) > 1:
        raise NotMetered("the battery's gauge changed its sign: the phone was charged in between")
    size = statistics.median(abs(current) for current in currents)
    sign = "positive" if signs == {True} else "negative"
    for unit, per_ma in (("µA", 1000.0), ("mA", 1.0)):
        if _LEAST_MA <= size / per_ma <= _MOST_MA:
            told = f"{unit} ({sign} while discharging)"
            return told, tuple(abs(current) / per_ma for current in currents)
    raise NotMetered(f"the gauge's {size:g} is no phone's current, neither in µA nor in mA")


def changed(values: Sequence[float]) -> list[int]:
    """Where the gauge had a new value."""
    return [index + 1 for index, (early, late) in enumerate(pairwise(values)) if late != early]


def _volts(look: GaugeReading) -> float:
    return (look.voltage_mv or 0) / 1e3
