"""Quantities as people read them in a terminal."""

from datetime import UTC, datetime

from distillfarm.controller.quantities import (
    battery,
    bounds,
    byte_count,
    bytes_with_interval,
    energy_detail,
    number,
    temperature,
    with_interval,
)
from distillfarm.domain.measurement import Energy

__all__ = [
    "battery",
    "bounds",
    "byte_count",
    "bytes_with_interval",
    "duration",
    "energy",
    "energy_line",
    "moment",
    "number",
    "temperature",
    "with_interval",
]


def energy(measured: Energy) -> str:
    """Millijoules with what was subtracted, or that nothing was measured; never a 0 for nothing."""
    if not measured.method:
        return "not measured"
    shown = measured.net_mj if measured.net_mj is not None else measured.gross_mj
    if shown is None:
        return "not measured"
    kind = "net" if measured.net_mj is not None else "gross"
    return f"{number(shown)} mJ {kind}"


def energy_line(measured: Energy) -> str:
    """Energy with its method and how far to trust it, or why there is none."""
    how = f": {measured.reason}" if measured.reason else f" by {measured.method}"
    detail = energy_detail(measured)
    return f"energy for one inference: {energy(measured)}{how}{f' ({detail})' if detail else ''}"


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
