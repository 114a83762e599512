"""Judges promises by intervals: pass, fail, or not to be told from these measurements."""

from collections.abc import Callable

from distillfarm.domain.interval import Interval
from distillfarm.domain.sla import format_bound
from distillfarm.domain.study import (
    Bound,
    BoundVerdict,
    Metric,
    Score,
    Sla,
    SlaVerdict,
    Verdict,
)

_MB = 1e6


def judge(sla: Sla, score: Score) -> SlaVerdict:
    """The verdict on every bound and on all of them.

    A bound passes when the whole 95 % interval is within the limit, fails when the whole interval
    is beyond it, and is inconclusive otherwise: more launches would tell.
    """
    return _together(tuple(_judge_bound(bound, score) for bound in sla.bounds))


def unjudged(sla: Sla, reason: str) -> SlaVerdict:
    """The verdict when there is nothing to judge: every bound is inconclusive for ``reason``."""
    return _together(
        tuple(BoundVerdict(bound, Verdict.INCONCLUSIVE, None, reason) for bound in sla.bounds),
        nothing=Verdict.INCONCLUSIVE,
    )


def observed(metric: Metric, score: Score) -> Interval | None:
    """The bounded quantity as measured, in the metric's base unit, or None."""
    return _QUANTITIES[metric](score)


def describe(metric: Metric, interval: Interval) -> str:
    """A quantity with its interval and unit, as people read it."""
    if metric in (Metric.PEAK_MEMORY, Metric.SIZE):
        return _text(interval, _MB, "MB")
    if metric is Metric.ACCURACY_DROP:
        return _text(interval, 1.0, "points")
    return _text(interval, 1.0, "mJ" if metric is Metric.ENERGY else "ms")


def _judge_bound(bound: Bound, score: Score) -> BoundVerdict:
    interval = observed(bound.metric, score)
    if interval is None:
        why = score.energy.reason or "no reading"
        return BoundVerdict(bound, Verdict.INCONCLUSIVE, None, f"not measured: {why}")
    text = f"{describe(bound.metric, interval)} against {format_bound(bound)}"
    if interval.high <= bound.limit:
        return BoundVerdict(bound, Verdict.PASS, interval, f"{text}: within")
    if interval.low > bound.limit:
        return BoundVerdict(bound, Verdict.FAIL, interval, f"{text}: beyond")
    return BoundVerdict(
        bound, Verdict.INCONCLUSIVE, interval, f"{text}: the limit lies inside the interval"
    )


def _together(bounds: tuple[BoundVerdict, ...], nothing: Verdict = Verdict.PASS) -> SlaVerdict:
    verdicts = {each.verdict for each in bounds}
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return SlaVerdict(verdict, bounds)
    return SlaVerdict(Verdict.PASS if bounds else nothing, bounds)


def _text(interval: Interval, unit: float, name: str) -> str:
    value = f"{interval.value / unit:.3g} {name}"
    if not interval.bounded:
        return f"{value} (one launch: no interval)"
    if interval.low == interval.high:
        return value
    return f"{value} [{interval.low / unit:.3g}, {interval.high / unit:.3g}]"


def _size(score: Score) -> Interval:
    size = float(score.size_bytes)
    return Interval(size, size, size)


def _energy(score: Score) -> Interval | None:
    energy = score.energy.gross_mj
    if energy is None:
        return None
    resolution = score.energy.resolution_mj or 0.0
    return Interval(energy, max(energy - resolution, 0.0), energy + resolution)


_QUANTITIES: dict[Metric, Callable[[Score], Interval | None]] = {
    Metric.ACCURACY_DROP: lambda score: score.quality_drop,
    Metric.COLD: lambda score: score.cold_ms,
    Metric.WARM_P50: lambda score: score.warm_p50_ms,
    Metric.WARM_P90: lambda score: score.warm_p90_ms,
    Metric.WARM_P99: lambda score: score.warm_p99_ms,
    Metric.PEAK_MEMORY: lambda score: score.peak_memory_bytes,
    Metric.SIZE: _size,
    Metric.ENERGY: _energy,
}
