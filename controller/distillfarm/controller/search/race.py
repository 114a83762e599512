"""The race of built candidates on one chipset: who is launched how often, and who leads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.quantities import LAUNCHED, values_of
from distillfarm.controller.search.surrogate import Belief, Known, Surrogate
from distillfarm.domain.study import Bound, Metric, Prediction, Sla

if TYPE_CHECKING:
    from distillfarm.statistics.summary import LaunchValues

_AT_ONCE = 4
_MARGIN = 1.0
_UNTOLD_CV = 0.05


@dataclass(frozen=True)
class Look:
    """So many launches of a candidate, to be made now."""

    key: str
    launches: int


@dataclass(frozen=True)
class Measured:
    """All launches of a candidate on a chipset: what a race may learn from elsewhere."""

    chipset: str
    arm: Arm
    launches: "LaunchValues"


@dataclass
class _Entry:
    arm: Arm
    values: dict[Metric, tuple[float, ...]] = field(default_factory=dict)
    launches: int = 0
    asked: int = 0
    lost: bool = False
    skipped: str = ""
    prediction: Prediction | None = None


class Race:
    """Candidates against each other on one chipset, within an SLA, by one objective.

    A pure function of what it was told, in that order. Call ``enter`` with what was built, then
    ``ask`` and ``tell`` in turns until ``ask`` gives nothing; then more may enter. ``learn``
    hands in what was measured on other chipsets.
    """

    def __init__(
        self, chipset: str, sla: Sla, objective: Metric, first_launches: int, most_launches: int
    ) -> None:
        self._chipset = chipset
        self._sla = sla
        self._objective = objective
        self._first = first_launches
        self._most = most_launches
        self._entries: dict[str, _Entry] = {}
        self._elsewhere: Sequence[Measured] = ()
        self._learnt = 0

    def learn(self, measured: Sequence[Measured]) -> None:
        """All that is known of other chipsets by now, instead of what was handed in before."""
        self._elsewhere = tuple(each for each in measured if each.chipset != self._chipset)

    def enter(self, arms: Sequence[Arm]) -> None:
        """Candidates that were built; those that cannot win by what the host knows are skipped."""
        for arm in arms:
            entry = self._entries.setdefault(arm.key, _Entry(arm))
            entry.skipped = self._hopeless(arm)

    def ask(self) -> Sequence[Look]:
        """The next launches, of several candidates at once; none: settled, or all is spent."""
        left = self._most - self.launches if self._most else self._first * len(self._entries)
        beliefs = self._beliefs()
        looks: list[Look] = []
        for entry in self._open():
            entry.prediction = entry.prediction or self._prediction(beliefs[entry.arm.key])
            if self._first <= left and len(looks) < _AT_ONCE:
                looks.append(Look(entry.arm.key, self._first))
                left -= self._first
        return looks

    def tell(self, key: str, values: "LaunchValues | None") -> None:
        """Launches that were made, beside earlier ones; None: this candidate cannot be measured."""
        entry = self._entries[key]
        if values is None:
            entry.lost = True
            return
        entry.launches += len(values.warm_p50_ms)
        for metric in LAUNCHED:
            entry.values[metric] = (*entry.values.get(metric, ()), *values_of(metric, values))

    def standing(self) -> Sequence[str]:
        """Those that were launched and may be verified, the best first."""
        raced = [each for each in self._entries.values() if each.launches and not each.lost]
        return [each.arm.key for each in sorted(raced, key=self._rank)]

    def skipped(self) -> Mapping[str, str]:
        """Why no device was asked, by candidate."""
        return {key: each.skipped for key, each in self._entries.items() if each.skipped}

    def prediction(self, key: str) -> Prediction | None:
        """What was expected of a candidate when it was first asked for."""
        return self._entries[key].prediction

    @property
    def launches(self) -> int:
        """All launches that were told."""
        return sum(each.launches for each in self._entries.values())

    def _hopeless(self, arm: Arm) -> str:
        for bound in self._sla.bounds:
            seen = arm.known.get(bound.metric)
            if seen is not None and seen.low > bound.limit:
                return (
                    f"{bound.metric.value} of {seen.value:g} is beyond {bound.limit:g} on the host"
                )
        return ""

    def _open(self) -> list[_Entry]:
        return [
            each
            for each in self._entries.values()
            if not each.skipped and not each.lost and not each.launches
        ]

    def _beliefs(self) -> dict[str, Belief]:
        known = [
            Known(each.chipset, each.arm.features, values_of(Metric.WARM_P90, each.launches))
            for each in self._elsewhere
        ]
        known += [
            Known(self._chipset, each.arm.features, each.values[Metric.WARM_P90])
            for each in self._entries.values()
            if each.launches
        ]
        surrogate = Surrogate()
        surrogate.fit(known)
        self._learnt = len(known)
        return {
            key: surrogate.predict(self._chipset, each.arm.features)
            for key, each in self._entries.items()
        }

    def _prediction(self, belief: Belief) -> Prediction | None:
        return Prediction(belief.interval(), self._learnt) if self._learnt else None

    def _rank(self, entry: _Entry) -> tuple[float, float]:
        excess = max((self._excess(entry, bound) for bound in self._sla.bounds), default=0.0)
        return max(excess, 0.0), self._estimate(entry, self._objective)

    def _excess(self, entry: _Entry, bound: Bound) -> float:
        if bound.metric in LAUNCHED:
            noisy = self._estimate(entry, bound.metric)
            noisy *= math.exp(_MARGIN * _UNTOLD_CV / math.sqrt(entry.launches))
            return noisy / bound.limit - 1
        seen = entry.arm.known.get(bound.metric)
        return 0.0 if seen is None else seen.value - bound.limit

    def _estimate(self, entry: _Entry, metric: Metric) -> float:
        if metric in LAUNCHED:
            return float(np.median(entry.values[metric]))
        seen = entry.arm.known.get(metric)
        return math.inf if seen is None else seen.value
