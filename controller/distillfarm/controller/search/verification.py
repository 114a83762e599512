"""Who is verified after the search, in what order and how long; the caller judges."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.controller.search.race import Look
from distillfarm.domain.study import Verdict

_PATIENCE = 2
"""How many launches are needed is guessed from few: so many times the first ones are made before
that is believed, and so many times the ones that are left are borne."""
_BETTER = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


@dataclass(frozen=True)
class Judged:
    """A candidate by its fresh launches alone; the worst of its phones where there are several."""

    key: str
    verdict: Verdict
    launches: int


class Verification:
    """The best of the race first; the next one when it fails or cannot be decided in time.

    ``ask`` says how many more fresh launches to make on each phone of whom; ``tell`` how all of
    that candidate's fresh launches so far are judged. A candidate is given up as inconclusive when
    ``most_launches`` were made, or sooner where far more than that are expected to be needed. At
    most ``most_candidates`` are tried.
    """

    def __init__(
        self,
        standing: Sequence[str],
        first_launches: int,
        most_launches: int,
        most_candidates: int = 3,
    ) -> None:
        self._most_candidates = most_candidates
        self._waiting = list(standing[:most_candidates])
        self._first = first_launches
        self._most = most_launches
        self._judged: dict[str, Judged] = {}
        self._next = first_launches

    def ask(self) -> Look | None:
        """The next launches; None when one has passed or nobody is left."""
        return Look(self._waiting[0], self._next) if self._waiting else None

    def tell(self, key: str, verdict: Verdict, more_launches: int) -> None:
        """``verdict`` over all fresh launches; ``more_launches`` would probably decide it."""
        made = self._next + (self._judged[key].launches if key in self._judged else 0)
        self._judged[key] = Judged(key, verdict, made)
        if verdict is Verdict.PASS:
            self._waiting = []
        elif verdict is Verdict.FAIL or self._vain(made, more_launches):
            self.lost(key)
        else:
            # Looking often costs no error, so never more than it had already.
            self._next = min(more_launches or self._first, made, self._most - made)

    def _vain(self, made: int, more_launches: int) -> bool:
        """Whether it will hardly be decided by the launches that are left."""
        left = self._most - made
        known = made >= _PATIENCE * self._first
        return left <= 0 or (known and more_launches > _PATIENCE * left)

    def reorder(self, standing: Sequence[str]) -> None:
        """Those that wait, by what is known now; whoever is being verified stays the first."""
        if any(each.verdict is Verdict.PASS for each in self._judged.values()):
            return
        begun = [each for each in self._waiting if each in self._judged]
        left = self._most_candidates - len(self._judged)
        fresh = [each for each in standing if each not in self._judged]
        self._waiting = [*begun, *fresh[: max(left, 0)]]

    def lost(self, key: str) -> None:
        """It cannot be measured any more; what was judged of it stands."""
        self._waiting = [each for each in self._waiting if each != key]
        self._next = self._first

    def best(self) -> Judged | None:
        """The first that passed, else the first that is open, else the first that failed."""
        return min(self._judged.values(), key=lambda each: _BETTER[each.verdict], default=None)
