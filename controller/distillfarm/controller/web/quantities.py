"""Template filters: quantities with their uncertainty, as people read them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Energy
from distillfarm.domain.sla import format_bound

_BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1.0, "B"))
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def number(value: float) -> str:
    """Three digits, without an exponent for everything that people time."""
    decimals = next((n for n, least in ((0, 100), (1, 10), (2, 1)) if abs(value) >= least), 3)
    return f"{value:.{decimals}f}"


def interval(value: Interval, factor: float = 1.0) -> str:
    """``0.112 [0.110, 0.115]``; ``[?]`` where nothing bounds it."""
    bounds = (
        f"{number(value.low * factor)}, {number(value.high * factor)}" if value.bounded else "?"
    )
    return f"{number(value.value * factor)} [{bounds}]"


def byte_count(count: float) -> str:
    """``547 KB``, in decimal units."""
    factor, unit = next((each for each in _BYTE_UNITS if count >= each[0]), _BYTE_UNITS[-1])
    return f"{count / factor:.3g} {unit}"


def energy(measured: Energy) -> str:
    """Millijoules with their method, or that nothing was measured and why; never 0 for nothing."""
    if not measured.method or measured.gross_mj is None:
        return f"not measured: {measured.reason}" if measured.reason else "not measured"
    net = "" if measured.net_mj is None else f", {number(measured.net_mj)} above idle"
    return f"{number(measured.gross_mj)} mJ{net} ({measured.method})"


def moment(unix_s: float) -> str:
    """UTC to the second."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """``48 s``, ``3 min``, ``5 h``, ``2 d``."""
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "interval": interval,
    "bytes": byte_count,
    "energy": energy,
    "moment": moment,
    "duration": duration,
    "bound": format_bound,
}
