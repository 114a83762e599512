"""Template filters: quantities with their uncertainty, as people read them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from distillfarm.controller import differences
from distillfarm.controller.fates import fate
from distillfarm.controller.quantities import (
    battery,
    byte_count,
    energy_detail,
    number,
    temperature,
    with_interval,
)
from distillfarm.domain.measurement import Energy
from distillfarm.domain.sla import format_bound

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


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
    "interval": with_interval,
    "bytes": byte_count,
    "energy": energy,
    "energy_detail": energy_detail,
    "moment": moment,
    "duration": duration,
    "bound": format_bound,
    "battery": battery,
    "temperature": temperature,
    "fate": fate,
    "comparison_title": lambda each: differences.TITLES[each.metric],
    "by_how_much": differences.by_how_much,
    "found": differences.found,
    "what_would_tell": differences.what_would_tell,
    "value_of": differences.value,
    "compared": differences.verdict,
}
