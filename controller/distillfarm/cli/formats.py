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
    decimals = next(
        (count for count, least in ((0, 100), (1, 10), (2, 1)) if abs(value) >= least), 3
    )
    return f"{value:.{decimals}f}"


def with_interval(interval: Interval, factor: float = 1.0) -> str:
    """``0.112 [0.110, 0.115]``; a single launch has no interval."""
    value = number(interval.value * factor)
    if not interval.bounded:
        return f"{value} [?]"
    return f"{value} [{number(interval.low * factor)}, {number(interval.high * factor)}]"


def bytes_with_interval(interval: Interval) -> str:
    """``61.2 [60.9, 61.4] MB``, all in the unit of the value."""
    factor, unit = next((each for each in _BYTE_UNITS if interval.value >= each[0]), (1.0, "B"))
    return f"{with_interval(interval, 1 / factor)} {unit}"


def percent(interval: Interval) -> str:
    """A quality in 0..1: ``89.2 [88.6, 89.8] %``."""
    value, low, high = (
        f"{each * 100:.1f}" for each in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}] %"


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
