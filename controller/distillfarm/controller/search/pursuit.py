"""Racing and verifying within one budget of launches, until nothing better is in sight.

All rules on who is launched next, and whether to race or to verify, stand here: a study's chipsets
and the replay on recorded devices ask the same ``Pursuit``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from distillfarm.controller.search.race import Look, Race
from distillfarm.controller.search.verification import Patience, Ruling
from distillfarm.domain.study import Verdict
from distillfarm.statistics.summary import LaunchValues

MOST_IN_VAIN = 3
"""After so many in a row that did not pass only those are verified that are likely to, and nobody
where nothing limits the launches, or where they are spent."""
_FIRST_TURN, _FIRST_LOOKS = 0.2, 10
"""Of all launches, for first looks alone, where launches decide a bound; or so many looks where
that is more, but no more than half of all."""
_FEW = 3
"""Where launches are limited a verification begins with so small a part of the first fresh ones:
that tells already who hardly passes."""
_FEWEST = 9
"""Launches that pass when all agree."""
_SAFE, _LAST = 50, 30
"""Launches in which the first one is to pass; those left over at which it is to be the safest."""
_CLEARLY = 0.8
"""The chance to be better from which on one is verified although another has passed."""
_ENDLESS = 10**9


@dataclass(frozen=True)
class Step:
    """What to launch now; ``fresh`` launches verify, on each phone, and count for the verdict."""

    looks: tuple[Look, ...]
    fresh: bool


class Pursuit:
    """Spends ``most`` launches on one chipset; 0 is no limit.

    Where launches are limited and decide a bound, each goes where it is worth most: to a first look
    at one that may be better than the best that has passed, or to verifying one on each of
    ``phones``, a few launches at a time. In the end that is for those that nobody believes in:
    beliefs rest on few launches. Elsewhere it goes by turns: racing, then the leader's
    verification, then racing for better ones with what is left. Without a limit a turn ends when
    no launch promises more, and so does the pursuit.

    Fresh launches teach the race, but no launch of the race counts for a verdict, and verdicts by
    fresh launches hold however often one looks. ``ask`` changes nothing: what was told decides.
    """

    def __init__(
        self, race: Race, most: int, first_fresh: int = 9, most_fresh: int = 320, phones: int = 1
    ) -> None:
        self._race = race
        self._most = most
        self._by_worth = bool(most) and race.by_launches
        self._first = max(first_fresh // _FEW, 1) if self._by_worth else first_fresh
        self._most_fresh = most_fresh
        self._phones = phones
        self._fresh: dict[str, Patience] = {}
        self._owed = False
        self._settled: set[str] = set()
        self._unsteady: set[str] = set()
        self._in_vain = 0
        once = min(first_fresh * phones, most // 2)
        # Where launches decide no bound any leader passes: all but that is for the race.
        self._last = min(_LAST * phones, most // 2) if race.by_launches else once
        few = min(_FIRST_LOOKS * race.first_launches, most // 2)
        self._turn = max(int(_FIRST_TURN * most), few) if race.by_launches else most - once
        self.delivered = ""
        """The best that has passed; empty while none has."""
        self.verifying = ""
        """Whose verification has begun and is to go on; empty while there is none."""

    def first_looks(self) -> Sequence[Look]:
        """What the race asks for in its first turn, while more is still to enter it."""
        return self._racing(self._turn)

    @property
    def first_turn_over(self) -> bool:
        """Whether nothing is left of the first turn, so that what else entered is not launched."""
        return bool(self._most) and self._race.launches >= self._turn

    def ask(self, *, spent: bool = False, barred: Collection[str] = ()) -> Step | None:
        """What to launch next; None when it is over.

        ``spent`` is whether a budget other than that of launches is. ``barred`` are candidates that
        no phone can verify at this moment.
        """
        if spent or self._left <= 0:
            return self._closing(barred)
        if self._owed and self.verifying not in barred:
            return self._verify([self.verifying])
        if not self.delivered and self._left <= self._last:
            return self._verify(self._standing(barred, _FEWEST))
        return self._worthiest(barred) if self._by_worth else self._by_turns(barred)

    def _worthiest(self, barred: Collection[str]) -> Step | None:
        """A first turn of first looks; then whatever brings most for the launches that it takes.

        That is a first look at several candidates, or fresh launches of one that was looked at,
        which tell the race as much and count.
        """
        if not self._fresh:
            self._plan(self._turn)
            if looks := self._race.ask(unseen=True):
                return Step(tuple(looks), fresh=False)
        self._plan(self._most)
        made = {key: patience.made for key, patience in self._fresh.items()}
        worth = self._race.worthwhile(made, self._left // self._phones)
        able = self._able(worth, barred)
        if looks := self._race.first_looks(able):
            return Step(tuple(looks), fresh=False)
        if self.delivered:
            able = [key for key in able if key not in self._unsteady]
        elif not able and self._in_vain < MOST_IN_VAIN:
            able = self._standing(barred)
        return self._verify(able)

    def _by_turns(self, barred: Collection[str]) -> Step | None:
        """Race, verify the leader, and go on where others are clearly better."""
        begun = self._begun(barred)
        if not begun and (looks := self._racing(self._turn)):
            return Step(tuple(looks), fresh=False)
        leading = begun or self._worth_it(barred)
        if not leading and self.delivered and (looks := self._racing(self._most)):
            return Step(tuple(looks), fresh=False)
        if not leading and not self.delivered and self._in_vain < MOST_IN_VAIN:
            leading = self._standing(barred)
        return self._verify(leading)

    def raced(self, key: str, values: LaunchValues | None, *, steady: bool = True) -> None:
        """What came of a look of the race; an unsteady one's launches differ too much."""
        self._race.tell(key, values)
        self.verifying, self._owed = "", False
        (self._unsteady.discard if steady else self._unsteady.add)(key)

    def verified(self, look: Look, values: LaunchValues | None, ruling: Ruling) -> None:
        """What came of fresh launches, and the ruling over all of this candidate's."""
        key = look.key
        if values is not None:
            self._race.tell(key, values)
        patience = self._fresh[key] = self._patience(key)
        patience.tell(look.launches, ruling)
        self.verifying, self._owed = key, ruling.owed
        if ruling.verdict is Verdict.PASS:
            self._passed(key)
        elif patience.settled:
            self.lost(key)
        self._turn = self._race.launches + self._left // 2

    def lost(self, key: str) -> None:
        """It does not pass: it breaks a bound, cannot be decided, or not be measured any more."""
        self._race.failed(key)
        self._settled.add(key)
        self._in_vain += 1
        self.verifying, self._owed = "", False

    def _passed(self, key: str) -> None:
        best = self.delivered
        if not best or self._race.lead(key, best) > self._race.lead(best, key):
            self.delivered = key
            self._race.passed(key)
        self._settled.add(key)
        self._in_vain = 0
        self.verifying, self._owed = "", False

    @property
    def _left(self) -> int:
        return self._most - self._race.launches if self._most else _ENDLESS

    def _closing(self, barred: Collection[str]) -> Step | None:
        """Beyond a budget: what has begun is finished, and somebody is judged, until one passed.

        Where launches are left, but not the time, the leader's successors are judged, too.
        """
        if self.delivered or self._in_vain >= MOST_IN_VAIN:
            return None
        able = self._standing(barred)
        if self.verifying in able:
            return self._verify([self.verifying])
        return self._verify(able) if self._left > 0 or not self._fresh else None

    def _racing(self, until: int) -> Sequence[Look]:
        self._plan(until if self._most else 0)
        looks = self._race.ask()
        if not looks and self._most and not self._race.by_launches:
            # Those in which nobody believes: what is left buys nothing else.
            looks = self._race.doubt()
        return looks

    def _plan(self, until: int, made: int = 0, fresh: int = 0) -> None:
        """Race until so many launches, for one that passes by those that are left, or ``fresh``.

        ``made`` are fresh launches that it has already.
        """
        left = made + self._left // self._phones
        reach = min(left, self._most_fresh if self.delivered or not self._most else _SAFE)
        self._race.plan(max(until, 1) if self._most else 0, max(fresh or reach, 1))

    def _begun(self, barred: Collection[str]) -> list[str]:
        """Who is being verified, while it is likely to pass and nobody such is clearly better."""
        key = self.verifying
        if not key or key in barred:
            return []
        worth = self._worth_it(barred, self._patience(key).made)
        surpassed = key not in worth or self._race.lead(worth[0], key) >= _CLEARLY
        return [] if surpassed else [key]

    def _worth_it(self, barred: Collection[str], made: int = 0) -> list[str]:
        """Those that are likely to pass and, where one has, clearly better; the best first."""
        if self._in_vain >= MOST_IN_VAIN and not self._most:
            return []
        self._plan(self._turn, made)
        able = self._able(self._race.worth_verifying(), barred)
        if not self.delivered:
            return able
        able = [key for key in able if key not in self._unsteady]
        return [key for key in able if self._race.lead(key, self.delivered) >= _CLEARLY]

    def _standing(self, barred: Collection[str], fresh: int = 0) -> list[str]:
        self._plan(self._turn, fresh=fresh)
        return self._able(self._race.standing(), barred)

    def _able(self, keys: Sequence[str], barred: Collection[str]) -> list[str]:
        """Few launches that differ too much give no number, but fresh ones may: such go last."""
        able = [key for key in keys if key not in self._settled and key not in barred]
        return sorted(able, key=lambda key: key in self._unsteady)

    def _verify(self, keys: Sequence[str]) -> Step | None:
        """The next fresh launches of the first of ``keys``, if there is one."""
        for key in keys[:1]:
            wanted = self._patience(key).next
            if self._left > 0:
                wanted = min(wanted, max(self._left // self._phones, 1))
            return Step((Look(key, wanted),), fresh=True)
        return None

    def _patience(self, key: str) -> Patience:
        return self._fresh.get(key) or Patience(self._first, self._most_fresh)
