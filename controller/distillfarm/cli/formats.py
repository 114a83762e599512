"""Quantities as people read them, with their uncertainty."""

from datetime import UTC, datetime

from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Energy

_BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def byte_count(count: float) -> str:
    """``547 KB``; decimal units, three digits."""
    for factor, unit in _BYTE_UNITS:
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def number(value: float) -> str:
    """Three digits, without an exponent for everything that people time."""
    if value == 0:
        return "0"
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


def energy(measured: Energy) -> str:
    """Millijoules with what was subtracted, or that nothing was measured; never a 0 for nothing."""
    if not measured.method:
        return "not measured"
    shown = measured.net_mj if measured.net_mj is not None else measured.gross_mj
    if shown is None:
        return "not measured"
    kind = "net" if measured.net_mj is not None else "gross"
    return f"{number(shown)} mJ {kind}"


def duration(seconds: float) -> str:
    """``48 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = max(0, round(seconds))
    minutes, rest_s = divmod(whole, 60)
    hours, rest_min = divmod(minutes, 60)
    if hours:
        return f"{hours} h {rest_min:02} min"
    return f"{minutes} min {rest_s:02} s" if minutes else f"{rest_s} s"


def moment(unix_s: float) -> str:
    """Local time to the second."""
    return datetime.fromtimestamp(unix_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
