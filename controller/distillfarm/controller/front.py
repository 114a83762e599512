"""Which trials of a chipset nothing beats, and where on that front the knee is; pure."""

import math
from collections.abc import Mapping, Sequence

from distillfarm.controller.evidence import observed
from distillfarm.domain.pareto import pareto_front
from distillfarm.domain.study import Metric, Score, Trial

_LEAST = 1e-12
"""Stands for what is nothing where ratios are looked at."""


def front(trials: Sequence[Trial], objective: Metric = Metric.WARM_P90) -> frozenset[str]:
    """Ids of the scored trials that none other beats in accuracy, objective and size at once."""
    return pareto_front(_points(trials, objective))


def knee(trials: Sequence[Trial], objective: Metric = Metric.WARM_P90) -> str:
    """The trial of the front from which every step gives up more than it gains; empty without one.

    What is given up and gained is measured by how far the front reaches in each quantity, for
    objective and size in ratios: the trial with the least sum lies farthest below the plane through
    the front's ends (Das, "On characterizing the knee of the Pareto curve based on Normal-Boundary
    Intersection", Structural Optimization 1999).
    """
    points = _points(trials, objective)
    on_front = {key: points[key] for key in sorted(pareto_front(points))}
    if not on_front:
        return ""
    scaled = _scaled(on_front)
    return min(scaled, key=lambda key: (sum(scaled[key]), key))


def _points(trials: Sequence[Trial], objective: Metric) -> dict[str, tuple[float, ...]]:
    scored = {each.trial_id: each.score for each in trials if each.score is not None}
    return {key: _objectives(score, objective) for key, score in scored.items()}


def _objectives(score: Score, objective: Metric) -> tuple[float, ...]:
    seen = observed(objective, score)
    # What was not measured is beaten by everything that was.
    value = seen.value if seen is not None else math.inf
    return (score.quality_drop.value, value, float(score.size_bytes))


def _scaled(points: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Each quantity from 0, the best on the front, to 1, the worst."""
    rows = {
        key: (drop, *(math.log(min(max(each, _LEAST), 1 / _LEAST)) for each in others))
        for key, (drop, *others) in points.items()
    }
    columns = list(zip(*rows.values(), strict=True))
    ranges = [(min(column), max(column) - min(column)) for column in columns]
    return {
        key: [
            (value - low) / width if width else 0.0
            for value, (low, width) in zip(row, ranges, strict=True)
        ]
        for key, row in rows.items()
    }
