"""What a verdict rests on: a trial's quantities, and what every launch showed of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Metric, Score
from distillfarm.statistics.summary import LaunchValues

_MB = 1e6


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on: a trial's score, and the launches behind it, one value each.

    Without ``values`` bounds on launch quantities are judged by the score's intervals, which is
    coarser and tells not how many launches are missing.
    """

    score: Score
    values: LaunchValues | None = None

    @property
    def launches(self) -> int:
        """How many launches stand behind it, 0 where their values are not at hand."""
        return len(self.values.warm_p90_ms) if self.values else 0


def observed(metric: Metric, score: Score) -> Interval | None:
    """The bounded quantity as measured, in the metric's base unit, or None."""
    return _QUANTITIES[metric](score)


def launched(metric: Metric, values: LaunchValues) -> Sequence[float] | None:
    """A quantity's value of every launch, in the metric's base unit; None where launches show none.

    That is quality, size and energy.
    """
    read = _OF_LAUNCHES.get(metric)
    return read(values) if read else None


def describe(metric: Metric, interval: Interval) -> str:
    """A quantity with its interval and unit, as people read it."""
    if metric in (Metric.PEAK_MEMORY, Metric.SIZE):
        return _text(interval, _MB, "MB")
    if metric is Metric.ACCURACY_DROP:
        return _text(interval, 1.0, "points")
    return _text(interval, 1.0, "mJ" if metric is Metric.ENERGY else "ms")


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
_OF_LAUNCHES: dict[Metric, Callable[[LaunchValues], Sequence[float]]] = {
    Metric.COLD: lambda values: values.cold_ms,
    Metric.WARM_P50: lambda values: values.warm_p50_ms,
    Metric.WARM_P90: lambda values: values.warm_p90_ms,
    Metric.WARM_P99: lambda values: values.warm_p99_ms,
    Metric.PEAK_MEMORY: lambda values: values.peak_memory_bytes,
}
