"""A comparison in words, the same in every display; pure."""

from collections.abc import Callable, Sequence

from distillfarm.controller.comparing import LOAD
from distillfarm.controller.fates import UNSTABLE
from distillfarm.controller.quantities import bytes_with_interval, with_interval
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Comparison, Finding, Summary
from distillfarm.domain.study import Metric

TITLES = {
    Metric.WARM_P50.value: "warm p50",
    Metric.WARM_P90.value: "warm p90",
    Metric.COLD.value: "cold start",
    LOAD: "load and compile",
    Metric.PEAK_MEMORY.value: "peak memory",
}
LATENCIES = (Metric.WARM_P50.value, Metric.WARM_P90.value)
"""What faster and slower are said of, first of all."""

_TIMES_OF: dict[str, Callable[[Summary], Interval]] = {
    Metric.WARM_P50.value: lambda summary: summary.warm_p50_ms,
    Metric.WARM_P90.value: lambda summary: summary.warm_p90_ms,
    Metric.COLD.value: lambda summary: summary.cold_ms,
    LOAD: lambda summary: summary.load_ms,
}
_TIMES = {Finding.FASTER: "FASTER", Finding.SLOWER: "SLOWER"}
_AMOUNTS = {Finding.FASTER: "LESS", Finding.SLOWER: "MORE"}


def found(comparison: Comparison) -> str:
    """``FASTER``, ``SLOWER``, ``LESS``, ``MORE`` or ``no difference shown``."""
    words = _AMOUNTS if comparison.metric == Metric.PEAK_MEMORY.value else _TIMES
    return words.get(comparison.finding, "no difference shown")


def by_how_much(comparison: Comparison) -> str:
    """``-20.1 % [-23.0, -17.2]``: so much more than the first takes the second, with interval."""
    ratio = comparison.ratio
    ends = f"[{_change(ratio.low)}, {_change(ratio.high)}]" if ratio.bounded else "[?]"
    return f"{_change(ratio.value)} % {ends}"


def what_would_tell(comparison: Comparison) -> str:
    """How many more launches would probably show the difference seen, else why none is shown."""
    more = comparison.more_launches
    return f"about {more} more launches of each" if more else comparison.reason


def value(summary: Summary | None, metric: str) -> str:
    """What one side takes, ``0.112 [0.110, 0.115] ms``; no number where it is unstable."""
    if summary is None:
        return ""
    if metric in LATENCIES and not summary.stable:
        return UNSTABLE
    if metric in _TIMES_OF:
        return f"{with_interval(_TIMES_OF[metric](summary))} ms"
    return bytes_with_interval(summary.peak_memory_bytes)


def verdict(comparisons: Sequence[Comparison]) -> str:
    """The one line on the latency of the second against the first."""
    for metric in LATENCIES:
        for each in comparisons:
            if each.metric == metric and each.finding is not Finding.NO_DIFFERENCE:
                return f"{found(each)}, {TITLES[each.metric]} {by_how_much(each)}"
    return "no difference shown in warm latency" if comparisons else ""


def _change(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f}"
