"""The quantities that launches tell, of those that an SLA can bound."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import chain

from distillfarm.domain.study import Metric
from distillfarm.statistics.summary import LaunchValues

LAUNCHED = (
    Metric.COLD,
    Metric.WARM_P50,
    Metric.WARM_P90,
    Metric.WARM_P99,
    Metric.PEAK_MEMORY,
)
"""Energy is measured once a job, not once a launch, and accuracy and size are the host's."""


def values_of(metric: Metric, launches: LaunchValues) -> tuple[float, ...]:
    """One value a launch."""
    match metric:
        case Metric.COLD:
            return launches.cold_ms
        case Metric.WARM_P50:
            return launches.warm_p50_ms
        case Metric.WARM_P90:
            return launches.warm_p90_ms
        case Metric.WARM_P99:
            return launches.warm_p99_ms
        case Metric.PEAK_MEMORY:
            return launches.peak_memory_bytes
    return ()


def joined(values: Sequence[LaunchValues]) -> LaunchValues:
    """The launches of several looks, one after the other."""
    names = [each.name for each in fields(LaunchValues)]
    return LaunchValues(*(tuple(chain(*(getattr(e, name) for e in values))) for name in names))
