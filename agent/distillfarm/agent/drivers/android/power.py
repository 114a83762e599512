"""A phone's power rails and battery gauge, read by one command a look."""

import re
import time
from typing import Protocol

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import readings, shell
from distillfarm.agent.meters.gauge import GaugeReading
from distillfarm.agent.meters.odpm import Rail, RailReading
from distillfarm.agent.meters.sampled import NotMetered

# The power hardware layer's own words: the power service lists the rails without their joules.
# https://android.googlesource.com/platform/hardware/google/pixel/ powerstats/PowerStatsAidl.cpp
RAILS_COMMAND = (
    "dumpsys -t 5 android.hardware.power.stats.IPowerStats/default | sed -n '/energy meter/,$p'"
)
CHANNELS_COMMAND = "dumpsys -t 5 powerstats | grep ChannelName"
_MARK = "==distillfarm=="
# -f lets the service ask the hardware instead of answering from memory; Android 14 knows it.
GAUGE_COMMAND = (
    "{ cmd battery get -f current_now || cat /sys/class/power_supply/battery/current_now; } "
    f"2>/dev/null; echo {_MARK}; {readings.BATTERY_COMMAND}"
)
# Older ones print the rail's name alone.
_RAIL = re.compile(r"^ +\[?(?P<name>\w+)(?:\]:(?P<what>\S*))? +(?P<mws>\d+\.\d+) mWs", re.MULTILINE)
_CHANNEL = re.compile(r"ChannelId: \d+, ChannelName: (\S+), ChannelSubsystem: (.*)$", re.MULTILINE)
_PRINTED_J = 1e-5
# Microwatt-seconds go through a number of single precision before they are printed.
_MANTISSA_BITS = 24


class Asking(Protocol):
    """As much of a ``PhoneLine`` as is needed here."""

    async def ask(self, work: "Work", command: str) -> shell.ShellResult:
        """``work(device, command)`` in a thread, again after the link came back."""


class Work(Protocol):
    """What is asked of a phone."""

    def __call__(self, device: AdbDevice, command: str) -> shell.ShellResult:
        """Run the command to its end."""


class PhoneRails:
    """An ``odpm.RailReader`` over the line to a phone."""

    def __init__(self, line: Asking) -> None:
        self._line = line

    async def read(self) -> RailReading:
        """See ``odpm.RailReader``."""
        output, t_s, unsure_s = await _look(self._line, RAILS_COMMAND)
        found = rails(output)
        if not found:
            channels, _, _ = await _look(self._line, CHANNELS_COMMAND)
            raise NotMetered(_why_no_rails(channels))
        return RailReading(t_s, unsure_s, found)


class PhoneGauge:
    """A ``gauge.GaugeReader`` over the line to a phone."""

    def __init__(self, line: Asking) -> None:
        self._line = line

    async def read(self) -> GaugeReading:
        """See ``gauge.GaugeReader``."""
        output, t_s, unsure_s = await _look(self._line, GAUGE_COMMAND)
        return gauge(output, t_s, unsure_s)


def rails(output: str) -> tuple[Rail, ...]:
    """The rails with their joules from ``RAILS_COMMAND``; none where it shows none."""
    return tuple(
        Rail(
            match["name"],
            match["what"] or "",
            float(match["mws"]) / 1e3,
            max(_PRINTED_J, _single_step(float(match["mws"]) * 1e3) / 1e6),
        )
        for match in _RAIL.finditer(output)
    )


def channels(output: str) -> tuple[str, ...]:
    """The names of the rails that ``dumpsys powerstats`` knows of."""
    return tuple(match[1] for match in _CHANNEL.finditer(output))


def gauge(output: str, t_s: float, unsure_s: float) -> GaugeReading:
    """The battery from ``GAUGE_COMMAND``.

    Raises:
        NotMetered: the phone tells of no battery.
    """
    current, _, service = output.partition(_MARK)
    battery = readings.battery(service)
    if battery is None:
        raise NotMetered("the phone tells of no battery")
    number = re.fullmatch(r"-?\d+", current.strip())
    return GaugeReading(
        t_s=t_s,
        unsure_s=unsure_s,
        current=int(number[0]) if number else None,
        voltage_mv=battery.voltage_mv,
        status=battery.status,
        sources=battery.sources,
        simulated=battery.simulated,
    )


def _why_no_rails(output: str) -> str:
    names = channels(output)
    if names:
        return f"the phone has power rails ({', '.join(names)}) but does not show their energy"
    return "the phone shows no power rails; Pixel 6 and newer have them"


def _single_step(value: float) -> float:
    """The distance to the next number of single precision."""
    exponent = max(int(value), 1).bit_length()
    return float(2 ** max(exponent - _MANTISSA_BITS, 0))


async def _look(line: Asking, command: str) -> tuple[str, float, float]:
    """The output, and when on the agent's clock the phone was asked, give or take."""
    begin_s = time.monotonic()
    result = await line.ask(shell.run, command)
    end_s = time.monotonic()
    return result.text, (begin_s + end_s) / 2, (end_s - begin_s) / 2
