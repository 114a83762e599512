"""What is believed of every candidate of a race at one moment, and what follows from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.noise import reachable
from distillfarm.controller.search.process import Vector
from distillfarm.controller.search.promise import (
    FREEDOM,
    RATHER,
    Limited,
    Quantity,
    holds,
    improvement,
    promise,
    ranked,
)
from distillfarm.controller.search.prospects import LaunchBound, prospects
from distillfarm.controller.search.surrogate import ODD_SD_LOG, ODD_SHARE, Belief
from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Bound, Metric, Sla
from distillfarm.statistics.distributions import student_cdf

_INDIFFERENT = 0.003
"""Of the objective's range: a smaller improvement is not looked for."""
_SETTLED = 0.0003
"""Of the same: when no launch promises more, the race is over."""
_SURELY_WORSE = 1000.0
"""Standard deviations by which a candidate is worse that is known to be."""
_WIDTH = 3.92
"""Of a 95 % interval, in standard deviations."""


@dataclass(frozen=True)
class Told:
    """One quantity that launches tell: what is believed of every candidate, and of launches."""

    beliefs: Sequence[Belief]
    launch_sd_log: float
    resolution: float


@dataclass(frozen=True)
class Outlook:
    """``told`` holds the quantities that launches tell; the host tells all others.

    ``margin`` is how many standard deviations of a launch are kept from bounds, ``first_launches``
    how many launches come next. ``launched`` are rows of ``arms`` that were launched, ``passed`` is
    the row of the one that was verified.
    """

    arms: Sequence[Arm]
    launched: Sequence[int]
    told: Mapping[Metric, Told]
    sla: Sla
    objective: Metric
    margin: float
    first_launches: int
    passed: int | None = None

    @cached_property
    def ranking(self) -> list[int]:
        """Those that were launched, the best first; of these the ones before one that passed."""
        order = self._order
        return order if self.passed is None else order[: order.index(self.passed)]

    @cached_property
    def likely(self) -> list[int]:
        """Of the ranking, those that rather keep every bound."""
        return [row for row in self.ranking if self._chance[row] >= RATHER]

    @cached_property
    def promising(self) -> list[int]:
        """Those whose next launches promise something, those that promise most first."""
        width = self._range
        promised = promise(
            self._aim, self._chance, self._order, self._narrowed, _INDIFFERENT * width
        )
        order = np.argsort(-promised, kind="stable")
        return [int(row) for row in order if promised[row] > _SETTLED * width]

    @cached_property
    def doubted(self) -> list[int]:
        """Those that were never launched, the likeliest to keep the bounds and be better first.

        Whatever the chance: what is learnt from few may be wrong of any of them.
        """
        leader = self.ranking[0] if self.passed is None and self.ranking else self.passed
        if leader is None:
            return []
        ahead = (self._aim.means[leader] - self._aim.means) / np.maximum(self._aim.sds, 1e-9)
        likely = self._chance * student_cdf(ahead, FREEDOM)
        likely[ahead <= -_SURELY_WORSE] = 0.0
        likely[list(self.launched)] = 0.0
        return [int(row) for row in np.argsort(-likely, kind="stable") if likely[row] > 0]

    def worth(self, made: Vector, left: int) -> Vector:
        """[arms]: what each launch of a candidate brings, until it has passed or is given up.

        The expected improvement on the one that has passed, times the chance to pass by the
        launches that are ``left``, for the launches that this takes; ``made`` [arms] count already.
        While none has passed, passing at all is worth as much as the objective's whole range. One
        that was not launched may be unlike what its features tell.
        """
        by_host = [
            Limited(self._quantity(each.metric), each.limit)
            for each in self.sla.bounds
            if each.metric not in self.told
        ]
        usual = prospects(self._launch_bounds(0.0), made, left, self.first_launches)
        odd = prospects(self._launch_bounds(ODD_SD_LOG), made, left, self.first_launches)
        seen = usual.mixed(odd, ODD_SHARE)
        chance = seen.chance * holds(by_host, len(self.arms))
        worth: Vector = self._gain() * chance / seen.launches
        return worth

    def _launch_bounds(self, odd_sd_log: float) -> list[LaunchBound]:
        """Bounds that launches decide, where all that were not launched are so much less known."""
        wider = np.full(len(self.arms), odd_sd_log)
        wider[list(self.launched)] = 0.0
        found = []
        for each in self.sla.bounds:
            if each.metric in self.told:
                known = self._quantity(each.metric)
                less = Quantity(known.means, np.hypot(known.sds, wider))
                limited = Limited(less, self._reach_log(each))
                found.append(LaunchBound(limited, self.told[each.metric].launch_sd_log))
        return found

    def _gain(self) -> Vector:
        """[arms]: the improvement that is expected of each by the objective, bounds aside."""
        width = self._range
        if self.passed is None:
            return improvement(self._aim, float(self._aim.means.max()) + width)
        best, doubt = self._aim.means[self.passed], self._aim.sds[self.passed]
        gain = improvement(self._aim, float(best) - _INDIFFERENT * width, float(doubt))
        gain[gain < _SETTLED * width] = 0.0
        gain[self.passed] = 0.0
        return gain

    def lead(self, row: int, over: int) -> float:
        """The chance that one is better by the objective than another; launches tell of no more."""
        ahead = float(self._aim.means[over] - self._aim.means[row])
        if self.objective not in self.told:
            return 0.5 + 0.5 * float(np.sign(ahead))
        doubt = math.hypot(self._aim.sds[over], self._aim.sds[row])
        return float(student_cdf(ahead / max(doubt, 1e-9), FREEDOM))

    def hindrance(self, row: int) -> str:
        """Why a candidate is not worth a launch, in words."""
        for bound in self.sla.bounds:
            if bound.metric in self.told:
                expected = self.told[bound.metric].beliefs[row].interval()
                if expected.low > bound.limit:
                    return (
                        f"{bound.metric.value} is expected to be {expected.value:.3g}"
                        f" [{expected.low:.3g}, {expected.high:.3g}], beyond {bound.limit:g}"
                    )
        if self.ranking:
            return f"not expected to do better in {self.objective.value} than what was launched"
        return "nothing was launched yet"

    @cached_property
    def _range(self) -> float:
        # Logarithms of what launches tell have a scale of their own.
        return 1.0 if self.objective in self.told else float(np.ptp(self._aim.means))

    @cached_property
    def _order(self) -> list[int]:
        return ranked(self._aim.means, self._chance, self.launched)

    @cached_property
    def _aim(self) -> Quantity:
        return self._quantity(self.objective)

    @cached_property
    def _chance(self) -> Vector:
        bounds = [
            Limited(self._quantity(each.metric), self._limit(each)) for each in self.sla.bounds
        ]
        chance = holds(bounds, len(self.arms))
        if self.passed is not None:
            chance[self.passed] = 1.0
        return chance

    @cached_property
    def _narrowed(self) -> Vector:
        """[arms]: the part of what is believed by which the next launches make it narrower."""
        narrowed = np.zeros(len(self.arms))
        for each in self.told.values():
            variance = np.array([one.sd_log**2 for one in each.beliefs])
            noise = each.launch_sd_log**2 / self.first_launches
            narrowed = np.maximum(narrowed, 1 - np.sqrt(noise / (variance + noise)))
        return narrowed

    def _limit(self, bound: Bound) -> float:
        if bound.metric not in self.told:
            return bound.limit
        return self._reach_log(bound) - self.margin * self.told[bound.metric].launch_sd_log

    def _reach_log(self, bound: Bound) -> float:
        """The largest value that may be told of a launch within the bound."""
        step = self.told[bound.metric].resolution
        return math.log(max(reachable(bound.limit, step), bound.limit * 1e-9))

    def _quantity(self, metric: Metric) -> Quantity:
        if metric in self.told:
            beliefs = self.told[metric].beliefs
            means = np.array([each.mean_log for each in beliefs])
            return Quantity(means, np.array([each.sd_log for each in beliefs]))
        # What nobody knows before the verification, such as energy, hinders nobody.
        nothing = Interval(0.0, 0.0, 0.0)
        known = [each.known.get(metric, nothing) for each in self.arms]
        if metric not in HOST:
            known = [nothing] * len(known)
        means = np.array([each.value for each in known])
        return Quantity(means, np.array([(each.high - each.low) / _WIDTH for each in known]))


HOST = (Metric.ACCURACY_DROP, Metric.SIZE)
"""What is known of a candidate once it is built."""
