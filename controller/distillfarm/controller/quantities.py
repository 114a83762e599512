"""Quantities as people read them: three digits, their interval beside them."""

import math

from distillfarm.domain.interval import Interval

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
