"""How long a candidate is verified by fresh launches, and who is verified; the caller judges."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.controller.search.race import Look
from distillfarm.domain.study import Verdict

_PATIENCE = 2
"""How many launches are needed is guessed from few: so many times the first ones are made before
that is believed, and so many times the ones that are left are borne."""


@dataclass(frozen=True)
class Ruling:
    """How all fresh launches of a candidate are judged by now; by its worst phone, where several.

    ``more_launches`` would probably decide an open one. ``owed`` are they where they have to be
    made in any case: since its launches were disturbed, or one of its phones was lost.
    """

    verdict: Verdict
    more_launches: int = 0
    owed: bool = False


class Patience:
    """The fresh launches of one candidate on each of its phones: how many come next, if any.

    Looking often costs no error, see ``statistics.verdicts``, so there are never more than it had
    already. It is given up as inconclusive when ``most`` were made, or sooner where far more than
    are left are expected to be needed.
    """

    def __init__(self, first: int, most: int) -> None:
        self._first = first
        self._most = most
        self.made = 0
        self.next = first
        self.settled = False

    def tell(self, launches: int, ruling: Ruling) -> None:
        """So many more were made on each phone, and so all of them are judged."""
        self.made += launches
        left = self._most - self.made
        known = self.made >= _PATIENCE * self._first
        vain = left <= 0 or (known and ruling.more_launches > _PATIENCE * left)
        self.settled = ruling.verdict is not Verdict.INCONCLUSIVE or vain
        self.next = max(min(ruling.more_launches or self._first, self.made, left), 1)


class Verification:
    """One candidate after the other, in a given order, until one has passed or nobody is left."""

    def __init__(self, order: Sequence[str], first_launches: int, most_launches: int) -> None:
        self._waiting = {key: Patience(first_launches, most_launches) for key in order}

    def ask(self) -> Look | None:
        """The next launches on each phone; None when it is over."""
        for key, patience in self._waiting.items():
            return Look(key, patience.next)
        return None

    def tell(self, look: Look, ruling: Ruling) -> None:
        """A look was taken; ``ruling`` is over all fresh launches of its candidate."""
        patience = self._waiting[look.key]
        patience.tell(look.launches, ruling)
        if ruling.verdict is Verdict.PASS:
            self._waiting = {}
        elif patience.settled:
            self.lost(look.key)

    def lost(self, key: str) -> None:
        """It cannot be measured any more; what was judged of it stands."""
        self._waiting.pop(key, None)
