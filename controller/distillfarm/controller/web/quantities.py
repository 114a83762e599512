"""Template filters: quantities with their uncertainty, as people read them."""

from collections.abc import Callable
from typing import Any

from distillfarm.controller import differences
from distillfarm.controller.fates import fate
from distillfarm.controller.quantities import (
    battery,
    byte_count,
    duration,
    energy,
    energy_detail,
    moment,
    number,
    temperature,
    with_interval,
)
from distillfarm.domain.sla import format_bound

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
