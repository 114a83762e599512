"""The SLA language: ``accuracy_drop<=2pt, warm_p90<=10ms, peak_memory<=100MB``."""

import re

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.study import Bound, Metric, Sla

_TERM = re.compile(r"([a-z_0-9]+)\s*<=?\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z%]*)")
_TIME = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_UNITS: dict[Metric, dict[str, float]] = {
    Metric.ACCURACY_DROP: {"pt": 1.0, "%": 1.0},
    Metric.COLD: _TIME,
    Metric.WARM_P50: _TIME,
    Metric.WARM_P90: _TIME,
    Metric.WARM_P99: _TIME,
    Metric.PEAK_MEMORY: _BYTES,
    Metric.SIZE: _BYTES,
    Metric.ENERGY: {"uJ": 1e-3, "mJ": 1.0, "J": 1e3},
}


def parse_sla(text: str) -> Sla:
    """Read a comma-separated list of ``metric<=limit unit``.

    Raises:
        InvalidRequest: an unknown metric or unit, a term that is no bound, a metric named twice.
    """
    bounds = tuple(_parse_bound(term) for term in text.split(",") if term.strip())
    names = [bound.metric for bound in bounds]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(f"SLA: {name.value} is bounded twice; keep one")
    return Sla(bounds)


def format_bound(bound: Bound) -> str:
    """The bound as people write it, in the metric's usual unit."""
    if bound.metric in (Metric.PEAK_MEMORY, Metric.SIZE):
        return f"{bound.metric.value}<={bound.limit / 1e6:g}MB"
    unit = next(unit for unit, factor in _UNITS[bound.metric].items() if factor == 1.0)
    return f"{bound.metric.value}<={bound.limit:g}{unit}"


def _parse_bound(term: str) -> Bound:
    match = _TERM.fullmatch(term.strip())
    if match is None:
        raise InvalidRequest(f"SLA: {term.strip()!r} is no bound; write for example warm_p90<=10ms")
    name, number, unit = match.groups()
    try:
        metric = Metric(name)
    except ValueError as error:
        known = ", ".join(each.value for each in Metric)
        raise InvalidRequest(f"SLA: unknown metric {name!r}; use one of {known}") from error
    factors = _UNITS[metric]
    if unit not in factors:
        raise InvalidRequest(
            f"SLA: {term.strip()!r} needs a unit; {name} takes {', '.join(factors)}"
        )
    return Bound(metric, float(number) * factors[unit])
