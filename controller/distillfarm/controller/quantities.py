"""Quantities as people read them: three digits, their interval beside them."""

import math
from datetime import UTC, datetime

from distillfarm.domain.hardware import DeviceHealth
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Energy

THROTTLING = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's words for its thermal states 0 to 6 (``PowerManager.THERMAL_STATUS_*``)."""
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def byte_count(count: float) -> str:
    """``547 KB``; decimal units, three digits."""
    for factor, unit in _BYTE_UNITS:
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def number(value: float) -> str:
    """Three digits, without an exponent for everything that people time."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    steps = ((0, 100.0), (1, 10.0), (2, 1.0), (3, 0.1))
    decimals = next((count for count, least in steps if abs(value) >= least), 4)
    return f"{value:.{decimals}f}"


def bounds(interval: Interval, factor: float = 1.0) -> str:
    """``[0.110, 0.115]``; a single launch has no interval."""
    if not interval.bounded:
        return "[?]"
    return f"[{number(interval.low * factor)}, {number(interval.high * factor)}]"


def with_interval(interval: Interval, factor: float = 1.0) -> str:
    """``0.112 [0.110, 0.115]``."""
    return f"{number(interval.value * factor)} {bounds(interval, factor)}"


def bytes_with_interval(interval: Interval) -> str:
    """``61.2 [60.9, 61.4] MB``, all in the unit of the value."""
    factor, unit = next((each for each in _BYTE_UNITS if interval.value >= each[0]), (1.0, "B"))
    return f"{with_interval(interval, 1 / factor)} {unit}"


def battery(health: DeviceHealth | None) -> str:
    """``81 % charging``; empty where the device tells nothing."""
    if health is None:
        return ""
    percent = "" if health.battery_percent is None else f"{health.battery_percent:.0f} %"
    return " ".join(filter(None, (percent, health.battery)))


def temperature(health: DeviceHealth | None) -> str:
    """``41.2 °C, severe throttling``; empty where the device tells nothing."""
    if health is None:
        return ""
    degrees = "" if health.temperature_c is None else f"{health.temperature_c:.1f} °C"
    level = health.throttling or 0
    word = THROTTLING[level] if 0 <= level < len(THROTTLING) else str(level)
    return ", ".join(filter(None, (degrees, f"{word} throttling" if level else "")))


def energy(measured: Energy) -> str:
    """Millijoules with their method, or that nothing was measured and why; never 0 for nothing."""
    if not measured.method or measured.gross_mj is None:
        return f"not measured: {measured.reason}" if measured.reason else "not measured"
    net = "" if measured.net_mj is None else f", {number(measured.net_mj)} above idle"
    return f"{number(measured.gross_mj)} mJ{net} ({measured.method})"


def energy_detail(measured: Energy) -> str:
    """``read every 250 ms, over 5 launches, tells 0.5 mJ apart``: how far to trust a figure."""
    if not measured.method:
        return ""
    every = "" if measured.interval_s is None else f"read every {_span(measured.interval_s)}"
    over = f"over {measured.repeats} launches" if measured.repeats else ""
    apart = measured.resolution_mj
    tells = "" if apart is None else f"tells {number(apart)} mJ apart"
    return ", ".join(filter(None, (every, over, tells)))


def moment(unix_s: float) -> str:
    """UTC to the second."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """``48 s``, ``3 min``, ``5 h``, ``2 d``."""
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _span(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
