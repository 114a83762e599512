"""How one variant's quantities stand to another's, in words; pure."""

from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Metric, Score

NAMES = {
    Metric.ACCURACY_DROP: "accuracy drop",
    Metric.COLD: "cold start",
    Metric.WARM_P50: "warm p50",
    Metric.WARM_P90: "warm p90",
    Metric.WARM_P99: "warm p99",
    Metric.PEAK_MEMORY: "peak memory",
    Metric.SIZE: "size",
    Metric.ENERGY: "energy",
}
_TIMES = (Metric.COLD, Metric.WARM_P50, Metric.WARM_P90, Metric.WARM_P99)
_NOTHING = 1e-12
"""Stands for zero where ratios are taken."""


def compared(metric: Metric, ours: Interval, theirs: Interval) -> str:
    """How our quantity stands to theirs, such as ``1.3x faster in warm p90``."""
    if ours.low <= theirs.high and theirs.low <= ours.high:
        return f"no different in {NAMES[metric]}" if ours != theirs else f"equal {NAMES[metric]}"
    if metric is Metric.ACCURACY_DROP:
        change = ours.value - theirs.value
        return f"{abs(change):.3g} points {'worse' if change > 0 else 'better'} in accuracy"
    better, worse = ("faster", "slower") if metric in _TIMES else ("less", "more")
    if metric is Metric.SIZE:
        better, worse = "smaller", "larger"
    ratio = max(theirs.value, _NOTHING) / max(ours.value, _NOTHING)
    text = f"{ratio:.3g}x {better}" if ratio > 1 else f"{1 / ratio:.3g}x {worse}"
    return text if metric is Metric.SIZE else f"{text} in {NAMES[metric]}"


def in_size(ours: Score, theirs: Score) -> str:
    """``3x smaller``; sizes are exact."""
    ratio = theirs.size_bytes / max(ours.size_bytes, 1)
    return f"{ratio:.3g}x smaller" if ratio >= 1 else f"{1 / ratio:.3g}x larger"


def least(objective: Metric) -> str:
    """What people call the best in a quantity."""
    if objective in _TIMES:
        return "the fastest"
    return "the smallest" if objective is Metric.SIZE else f"the least in {NAMES[objective]}"
