"""What another launch of each candidate promises: a better one, or the leader made sure of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distillfarm.controller.search.process import Vector
from distillfarm.statistics.distributions import normal_cdf, normal_density, student_cdf

FREEDOM = 5
"""Degrees of freedom of Student's t: what learnt from few is surer than it should be."""
RATHER = 0.5
"""From such a chance of keeping all bounds on a candidate counts as one that does."""


@dataclass(frozen=True)
class Quantity:
    """One quantity of every candidate, not known exactly; [n] each."""

    means: Vector
    sds: Vector


@dataclass(frozen=True)
class Limited:
    """A quantity with the largest value that it may have."""

    quantity: Quantity
    limit: float


def holds(bounds: Sequence[Limited], count: int) -> Vector:
    """[n]: the chance that a candidate keeps every bound."""
    chance = np.ones(count)
    for each in bounds:
        sds = np.maximum(each.quantity.sds, 1e-9)
        chance *= student_cdf((each.limit - each.quantity.means) / sds, FREEDOM)
    return chance


def ranked(objective: Vector, chance: Vector, among: Sequence[int]) -> list[int]:
    """The best first: those that rather keep every bound by their objective, then by chance."""

    def key(row: int) -> tuple[bool, float, float]:
        if chance[row] >= RATHER:
            return (False, float(objective[row]), -float(chance[row]))
        return (True, -float(chance[row]), float(objective[row]))

    return sorted(among, key=key)


def improvement(objective: Quantity, target: float, doubt: float = 0.0) -> Vector:
    """[n]: by how much each is expected to be below ``target``, known but for a ``doubt``."""
    sds = np.hypot(np.maximum(objective.sds, 1e-9), doubt)
    ahead = target - objective.means
    expected: Vector = ahead * normal_cdf(ahead / sds) + sds * normal_density(ahead / sds)
    return np.maximum(expected, 0.0)


def promise(
    objective: Quantity, chance: Vector, order: Sequence[int], narrowed: Vector, indifferent: float
) -> Vector:
    """[n]: how much better the choice may get by the next launches of each candidate.

    For others than the leader, the first of ``order``: the improvement on it that is expected
    within the bounds (Schonlau, Welch & Jones, "Global versus local search in constrained
    optimization", 1998), beyond what is ``indifferent``. For the leader: what is lost where it
    breaks a bound and the second has to do. Both times the part of the doubt that launches remove,
    ``narrowed`` [n].
    """
    worst = float(objective.means.max())
    leader = order[0] if order and chance[order[0]] >= RATHER else None
    target = worst if leader is None else float(objective.means[leader])
    doubt = 0.0 if leader is None else float(objective.sds[leader])
    promised = chance * improvement(objective, target - indifferent, doubt)
    if leader is not None:
        second = next((row for row in order[1:] if chance[row] >= RATHER), None)
        fallback = worst if second is None else float(objective.means[second])
        promised[leader] = (1 - chance[leader]) * max(fallback - target, indifferent)
    return promised * narrowed
