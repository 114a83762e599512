"""The race of built candidates on one chipset: who is launched how often, and who leads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.features import Encoding
from distillfarm.controller.search.learning import Learning, Measured
from distillfarm.controller.search.outlook import Outlook
from distillfarm.controller.search.quantities import LAUNCHED, values_of
from distillfarm.controller.search.spread import spread
from distillfarm.controller.search.verifiable import verifiable_margin
from distillfarm.domain.study import Metric, Prediction, Sla
from distillfarm.statistics.summary import LaunchValues

_AT_ONCE, _DOUBTED_AT_ONCE = 4, 12
_MOST_LAUNCHES, _MOST_LOOKS = 12, 4
"""Of one candidate in a race, whichever are more: the rest is for the verification to tell."""
_BLIND_SHARE, _FEWEST_BLIND, _MOST_BLIND = 0.25, 3, 10
"""Candidates to look at, far apart from each other, before the surrogate is believed.

Half as many where other chipsets have taught it something.
"""


@dataclass(frozen=True)
class Look:
    """So many launches of a candidate, to be made now."""

    key: str
    launches: int


@dataclass
class _Entry:
    arm: Arm
    values: dict[Metric, tuple[float, ...]] = field(default_factory=dict)
    launches: int = 0
    lost: bool = False
    prediction: Prediction | None = None


class Race:
    """Candidates against each other on one chipset, within an SLA, by one objective.

    A pure function of what it was told, in that order. Call ``enter`` with what was built, then
    ``ask`` and ``tell`` in turns until ``ask`` gives nothing; then more may enter. ``learn``
    hands in what was measured on other chipsets. ``most_launches`` of 0 is no limit;
    ``most_final_launches`` are those by which a winner will have to be verified.
    """

    def __init__(  # noqa: PLR0917
        self,
        chipset: str,
        sla: Sla,
        objective: Metric,
        first_launches: int,
        most_launches: int,
        most_final_launches: int = 60,
    ) -> None:
        self._sla = sla
        self._objective = objective
        self._first = first_launches
        self._most = most_launches
        self._margin = verifiable_margin(most_final_launches)
        self._entries: dict[str, _Entry] = {}
        self._hopeless: dict[str, str] = {}
        self._learning = Learning(chipset)
        self._outlook: Outlook | None = None
        self._passed = ""

    def learn(self, measured: Sequence[Measured]) -> None:
        """All that is known of other chipsets by now, instead of what was handed in before."""
        self._learning.hear(measured)
        self._outlook = None

    def enter(self, arms: Sequence[Arm]) -> None:
        """Candidates that were built; those that cannot win by what the host knows are skipped."""
        for arm in arms:
            if reason := _broken(arm, self._sla):
                self._hopeless[arm.key] = reason
            else:
                self._entries.setdefault(arm.key, _Entry(arm))
        self._changed()

    def ask(self, *, unseen: bool = False) -> Sequence[Look]:
        """The next launches, of several candidates at once; none: settled, or all is spent.

        With ``unseen`` only of those that were never launched.
        """
        racing = self._racing()
        if not racing or self._left <= 0:
            return []
        most = self._first if unseen else max(_MOST_LAUNCHES, _MOST_LOOKS * self._first)
        promising = self._blind(racing) or self._look().promising
        able = [row for row in promising if racing[row].launches + self._first <= most]
        return self._looks(racing, able)

    def doubt(self) -> Sequence[Look]:
        """First launches of those that ``ask`` does not believe in, while there are any left."""
        racing = self._racing()
        if not racing or self._left <= 0:
            return []
        return self._looks(racing, self._look().doubted, _DOUBTED_AT_ONCE)

    def tell(self, key: str, values: LaunchValues | None) -> None:
        """Launches that were made, beside earlier ones; None: this candidate cannot be measured."""
        entry = self._entries[key]
        self._outlook = None
        if values is None:
            entry.lost = True
            self._changed()
            return
        entry.launches += len(values.warm_p50_ms)
        for metric in LAUNCHED:
            entry.values[metric] = (*entry.values.get(metric, ()), *values_of(metric, values))

    def standing(self) -> Sequence[str]:
        """Those that were launched and may be verified, the best first.

        Before all others go those that rather keep every bound, with the margin that makes it
        worth verifying them, by their objective; then the others by how likely they do. Where one
        has passed already only those stand that are better.
        """
        racing = self._racing()
        return [racing[row].arm.key for row in self._look().ranking] if racing else []

    def worth_verifying(self) -> Sequence[str]:
        """Of those, the ones that rather keep every bound."""
        racing = self._racing()
        return [racing[row].arm.key for row in self._look().likely] if racing else []

    def worthwhile(self, made: Mapping[str, int], left: int) -> Sequence[str]:
        """Those that may be better than the one that has passed, and pass themselves.

        Whose launches bring most comes first, see ``Outlook.worth``; ``made`` are fresh launches so
        far, ``left`` those that may follow on each phone.
        """
        racing = self._racing()
        if not racing:
            return []
        counted = np.array([float(made.get(each.arm.key, 0)) for each in racing])
        worth = self._look().worth(counted, left)
        rows = [int(row) for row in np.argsort(-worth, kind="stable") if worth[row] > 0]
        return [racing[row].arm.key for row in rows]

    def first_looks(self, keys: Sequence[str]) -> Sequence[Look]:
        """First launches of the foremost of ``keys``, several at once, up to one that had some."""
        racing, rows = self._racing(), self._rows()
        fresh = takewhile(lambda row: not racing[row].launches, (rows[key] for key in keys))
        return self._looks(racing, list(fresh))

    def lead(self, key: str, over: str) -> float:
        """The chance that a candidate is better by the objective than another, bounds aside."""
        rows = self._rows()
        return self._look().lead(rows[key], rows[over])

    def plan(self, most_launches: int, most_final_launches: int) -> None:
        """How many launches there may be in all from now on, and for verifying one of them."""
        self._most = most_launches
        margin = verifiable_margin(most_final_launches)
        if margin != self._margin:
            self._margin, self._outlook = margin, None

    def passed(self, key: str) -> None:
        """This one was verified: from now on only better ones are looked for."""
        self._passed = key
        self._outlook = None

    def failed(self, key: str) -> None:
        """This one breaks a bound, or cannot be shown to keep it: it is out of the race."""
        self._entries[key].lost = True
        self._changed()

    def skipped(self) -> Mapping[str, str]:
        """Why no device was asked so far, by candidate."""
        said = dict(self._hopeless)
        for row, each in enumerate(self._racing()):
            if not each.launches:
                said[each.arm.key] = self._look().hindrance(row)
        return said

    def prediction(self, key: str) -> Prediction | None:
        """What was expected of a candidate when it was first asked for."""
        return self._entries[key].prediction if key in self._entries else None

    @property
    def first_launches(self) -> int:
        """How many launches a look has."""
        return self._first

    @property
    def by_launches(self) -> bool:
        """Whether launches decide a bound; else the host knows beforehand who keeps them all."""
        return any(each.metric in LAUNCHED for each in self._sla.bounds)

    @property
    def launches(self) -> int:
        """All launches that were told."""
        return sum(each.launches for each in self._entries.values())

    @property
    def _left(self) -> int:
        """Looks that may still be taken, or as many as are taken at once where nothing limits."""
        return (self._most - self.launches) // self._first if self._most else _AT_ONCE

    def _looks(
        self, racing: Sequence[_Entry], rows: Sequence[int], at_once: int = _AT_ONCE
    ) -> list[Look]:
        chosen = rows[: min(self._left, at_once)]
        for row in chosen:
            racing[row].prediction = racing[row].prediction or self._predicted(row)
        return [Look(racing[row].arm.key, self._first) for row in chosen]

    def _racing(self) -> list[_Entry]:
        return [each for each in self._entries.values() if not each.lost]

    def _rows(self) -> Mapping[str, int]:
        return {each.arm.key: row for row, each in enumerate(self._racing())}

    def _blind(self, racing: Sequence[_Entry]) -> list[int]:
        """Candidates far apart from each other, as long as too few were looked at."""
        seen = [row for row, each in enumerate(racing) if each.launches]
        wanted = min(max(int(_BLIND_SHARE * len(racing)), _FEWEST_BLIND), _MOST_BLIND)
        if self._learning.taught(Metric.WARM_P90):
            wanted = (wanted + 1) // 2
        missing = min(wanted, len(racing)) - len(seen)
        if missing <= 0:
            return []
        features = [each.arm.features for each in racing]
        return spread(Encoding(features).points(features), seen, missing)

    def _look(self) -> Outlook:
        """What is believed now; worked out once for everything that was told."""
        if self._outlook is None:
            racing = self._racing()
            launched = [row for row, each in enumerate(racing) if each.launches]
            wanted = {self._objective, Metric.WARM_P90, *(each.metric for each in self._sla.bounds)}
            self._outlook = Outlook(
                [each.arm for each in racing],
                launched,
                self._learning.told(
                    [each for each in LAUNCHED if each in wanted],
                    {row: racing[row].values for row in launched},
                ),
                self._sla,
                self._objective,
                self._margin,
                self._first,
                self._rows().get(self._passed),
            )
        return self._outlook

    def _predicted(self, row: int) -> Prediction | None:
        outlook = self._look()
        learnt = len(outlook.launched) + self._learning.elsewhere
        if not learnt:
            return None
        return Prediction(outlook.told[Metric.WARM_P90].beliefs[row].interval(), learnt)

    def _changed(self) -> None:
        self._learning.over([each.arm.features for each in self._racing()])
        self._outlook = None


def _broken(arm: Arm, sla: Sla) -> str:
    """The bound that the host knows to be broken, in words; nothing where there is none."""
    for bound in sla.bounds:
        seen = arm.known.get(bound.metric)
        if seen is not None and seen.low > bound.limit:
            return f"{bound.metric.value} of {seen.value:g} is beyond {bound.limit:g} on the host"
    return ""
