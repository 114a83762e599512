"""Who may pass the bounds by the launches that are left, and how many that takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distillfarm.controller.search.process import Matrix, Vector
from distillfarm.controller.search.promise import FREEDOM, Limited
from distillfarm.controller.search.verifiable import launches_to_pass
from distillfarm.statistics.distributions import normal_cdf, student_quantile

_EDGES = np.linspace(0.02, 0.98, 25)
_PLACES = student_quantile((_EDGES[1:] + _EDGES[:-1]) / 2, FREEDOM)
"""What is believed of a candidate stands for itself at these; the outermost counts as the rest."""
_CLEAR = 4.0
"""Squared: of standard deviations of the median beyond a bound, when a candidate is given up."""


@dataclass(frozen=True)
class LaunchBound:
    """A bound that launches decide: logarithms, and the standard deviation of one launch."""

    limited: Limited
    launch_sd_log: float


@dataclass(frozen=True)
class Prospects:
    """[n] each: the chance to pass by the launches that are left, and the launches until one knows.

    Those are what it takes to pass for whoever can, for the others what it takes to see that.
    """

    chance: Vector
    launches: Vector

    def mixed(self, other: "Prospects", share: float) -> "Prospects":
        """Where with such a chance the other holds instead."""
        return Prospects(
            (1 - share) * self.chance + share * other.chance,
            (1 - share) * self.launches + share * other.launches,
        )


def prospects(bounds: Sequence[LaunchBound], made: Vector, left: int, first: int) -> Prospects:
    """Of every candidate, by what is believed of its true values.

    Args:
        bounds: at least one.
        made: [n] launches that count already.
        left: launches that may still be made.
        first: the fewest that are made at once.
    """
    chance, launches = np.ones(len(made)), np.full(len(made), float(first))
    for each in bounds:
        belief = each.limited.quantity
        medians: Matrix = belief.means[:, None] + belief.sds[:, None] * _PLACES
        reserve = (each.limited.limit - medians) / each.launch_sd_log
        needed = np.maximum(launches_to_pass(normal_cdf(reserve)) - made[:, None], first)
        passes = needed <= left
        vain = np.clip(_CLEAR / np.maximum(reserve**2, 1e-9), first, max(left, first))
        chance = chance * passes.mean(axis=1)
        launches = np.maximum(launches, np.where(passes, needed, vain).mean(axis=1))
    return Prospects(chance, launches)
