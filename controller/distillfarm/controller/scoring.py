"""Puts what the host judged and what the device measured into the quantities people compare."""

from dataclasses import replace

from distillfarm.compression.protocols import Observation
from distillfarm.controller.evidence import observed
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Energy, Summary
from distillfarm.domain.study import Bound, Metric, Score, Sla, Trial
from distillfarm.domain.variant import Exported


def score(exported: Exported, summary: Summary, energy: Energy) -> Score:
    """The score that people see: quality on the test split, times and memory from the device."""
    quality = exported.test_quality
    return Score(
        quality=Interval(quality.value, quality.low, quality.high),
        quality_drop=exported.test_drop,
        size_bytes=exported.artifact.size_bytes,
        cold_ms=summary.cold_ms,
        warm_p50_ms=summary.warm_p50_ms,
        warm_p90_ms=summary.warm_p90_ms,
        warm_p99_ms=summary.warm_p99_ms,
        peak_memory_bytes=summary.peak_memory_bytes,
        energy=energy,
    )


def search_score(trial: Trial) -> Score | None:
    """The score that the search may look at: the quality lost on the selection split.

    The test split stays unseen until the verdict, or choosing the best of many would overfit it.
    """
    if trial.score is None or trial.exported is None:
        return None
    return replace(trial.score, quality_drop=trial.exported.quality_drop)


def observation(trial: Trial, sla: Sla) -> Observation:
    """What the sampler learns from a trial: quality lost, warm p90 and size, all to be small.

    A violation is how far a bounded quantity lies beyond its limit, relative to the limit, so that
    milliseconds and bytes weigh alike; what was not measured violates nothing.
    """
    seen = search_score(trial)
    if seen is None:
        return Observation(trial.candidate, None, None)
    objectives = (seen.quality_drop.value, seen.warm_p90_ms.value, float(seen.size_bytes))
    return Observation(
        trial.candidate, objectives, tuple(violation(bound, seen) for bound in sla.bounds)
    )


def guessed(exported: Exported, sla: Sla, guess_ms: float) -> Observation:
    """What the sampler learns of a candidate that was skipped: the host's quantities, and a guess.

    Without an objective it would learn nothing, and propose the like again.
    """
    known = {
        Metric.ACCURACY_DROP: exported.quality_drop.value,
        Metric.WARM_P90: guess_ms,
        Metric.SIZE: float(exported.artifact.size_bytes),
    }
    violations = (_excess(known.get(each.metric, each.limit), each.limit) for each in sla.bounds)
    return Observation(exported.candidate, tuple(known.values()), tuple(violations))


def violation(bound: Bound, seen: Score) -> float:
    """How far the estimate lies beyond the limit, relative to it; 0 or less when it holds."""
    interval = observed(bound.metric, seen)
    if interval is None:
        return 0.0
    return _excess(interval.value, bound.limit)


def _excess(value: float, limit: float) -> float:
    return (value - limit) / max(abs(limit), 1e-9)
