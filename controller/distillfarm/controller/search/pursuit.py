"""Racing and verifying in turns within one budget of launches, until nothing better is in sight."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.controller.search.race import Look, Race
from distillfarm.domain.study import Verdict
from distillfarm.statistics.summary import LaunchValues

_RACING = 0.5
"""Of what is left, for every turn of racing; the rest is kept for verifying."""
_FIRST = 9
"""Launches that pass when all agree."""
_SAFE, _LAST = 50, 30
"""Launches in which the first one is to pass; those left over at which it is to be the safest."""


@dataclass(frozen=True)
class Step:
    """What to launch now; ``fresh`` launches verify, and count for the verdict alone."""

    looks: Sequence[Look]
    fresh: bool


class Pursuit:
    """Spends ``most_launches`` on one chipset.

    First a turn of racing. Then the leader is verified, a few launches at a time, as long as it is
    worth it by all that is known. Once one has passed, or was dropped, what is left goes on racing
    for better ones, in the end for those that nobody believes in: beliefs rest on few launches.
    Fresh launches teach the race, but no launch of the race counts for a verdict,
    and verdicts by fresh launches hold however often one looks.
    """

    def __init__(self, race: Race, most_launches: int) -> None:
        self._race = race
        self._most = most_launches
        self._turn = int(_RACING * most_launches)
        self._fresh: dict[str, int] = {}
        self._verifying = ""
        self.delivered = ""
        """The best that has passed; empty while none has."""

    def ask(self) -> Step | None:
        """What to launch next; None when it is over."""
        left = self._most - self._race.launches
        if left <= 0:
            return None
        if not self.delivered and left <= _LAST:
            self._race.plan(self._most, _FIRST)
            self._verifying = next(iter(self._race.standing()), "")
            return self._verify(left) if self._verifying else None
        if not self._verifying and (step := self._racing_on(self._turn)):
            return step
        leading = self._race.worth_verifying()
        if not leading and (step := self._racing_on(self._most if self.delivered else self._late)):
            return step
        leading = leading or (() if self.delivered else self._race.standing())
        if not leading:
            return None
        self._verifying = leading[0]
        return self._verify(left)

    def _verify(self, left: int) -> Step:
        made = self._fresh.get(self._verifying, 0)
        return Step([Look(self._verifying, min(max(_FIRST, made // 2), left))], fresh=True)

    @property
    def _late(self) -> int:
        """Until then the first one that passes is looked for by racing."""
        return self._most - _SAFE

    def _racing_on(self, until: int) -> Step | None:
        left = self._most - self._race.launches
        self._race.plan(until, left if self.delivered else min(left, _SAFE))
        looks = self._race.ask()
        if not looks and self.delivered and left > 2 * _FIRST:
            looks = self._race.doubt()
        return Step(looks, fresh=False) if looks else None

    def raced(self, key: str, values: LaunchValues | None) -> None:
        """What came of a look of the race."""
        self._race.tell(key, values)

    def verified(self, key: str, values: LaunchValues | None, verdict: Verdict) -> None:
        """What came of fresh launches, and the verdict by all fresh launches of this candidate."""
        self._race.tell(key, values)
        if values is not None:
            self._fresh[key] = self._fresh.get(key, 0) + len(values.warm_p50_ms)
        if verdict is Verdict.PASS:
            self.delivered = key
            self._race.passed(key)
        elif verdict is Verdict.FAIL:
            self._race.failed(key)
        if verdict is not Verdict.INCONCLUSIVE or key not in self._race.worth_verifying()[:1]:
            self._verifying = ""
            left = self._most - self._race.launches
            self._turn = self._race.launches + int(_RACING * left)
