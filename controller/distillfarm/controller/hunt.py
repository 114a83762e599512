"""One chipset between its first looks and its choice: raced and verified by what is asked; pure.

The pursuit of ``controller.search`` says what comes next; here its steps become orders, of the
search where they race, of the finals where they verify, with the originals beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from distillfarm.controller.decide import Found
from distillfarm.controller.finals import Finals
from distillfarm.controller.judgement import Judgement
from distillfarm.controller.judges import Judges
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.originals import Originals
from distillfarm.controller.search.race import Look
from distillfarm.controller.searching import Search
from distillfarm.domain.study import Trial


@dataclass(frozen=True)
class Asked:
    """What a chipset's pursuit asks for: looks of the race as orders, or a fresh look, or neither.

    Written down as it was asked, so that a replay asks the same whatever its arithmetic says by a
    hair.
    """

    raced: tuple[Order, ...] = ()
    fresh: Look | None = None


@dataclass(frozen=True)
class Ended:
    """The best that passed, empty where none has, and the search's trials that lead; as ids."""

    delivered: str
    ranking: tuple[str, ...]


@dataclass
class Hunt:
    """In every round ``look_again``, ``ask``, ``orders`` of what was asked, and ``tell``.

    It is over when a round gives no orders.
    """

    search: Search
    finals: Finals
    originals: Originals
    judges: Judges
    _over: bool = False

    def look_again(self, there: Sequence[ChipsetLab]) -> None:
        """The devices that are there now judge from the next candidate on."""
        if not self.search.pursuit.verifying:
            chipset = self.search.place.chipset
            gone = replace(self.search.place, phones=())
            self.judges.place = next((e for e in there if e.chipset == chipset), gone)

    def ask(self, *, in_time: bool) -> Asked:
        """What is to be launched next; it changes nothing."""
        spent = self.search.over or not in_time
        step = self.search.pursuit.ask(spent=spent, barred=self.finals.barred())
        if step is None:
            return Asked()
        if step.fresh:
            return Asked(fresh=step.looks[0])
        return Asked(raced=tuple(self.search.orders(step.looks)))

    def orders(self, asked: Asked) -> list[Order]:
        """The launches of a round; the originals go beside the first fresh ones."""
        fresh = self.finals.orders(asked.fresh) if asked.fresh else []
        self._over = not asked.raced and not fresh
        wanted = [*asked.raced, *fresh]
        if not asked.raced:
            wanted.extend(self.originals.beside())
        if not wanted and not self.search.pursuit.delivered:
            # No candidate holds what was promised: does the original?
            wanted = self.originals.alone()
        return wanted

    def tell(self, taken: Sequence[Taken], judgements: Mapping[str, Judgement]) -> None:
        """Learn what came of the orders, and how all fresh launches of each trial are judged."""
        here = [each for each in taken if each.trial.chipset == self.search.place.chipset]
        fresh = [each for each in here if each.trial.final]
        self.search.tell([each for each in here if not each.trial.final])
        self.search.fresh.add(fresh)
        self.judges.tell(fresh)
        self.originals.tell(fresh, judgements)
        self.finals.tell(fresh, judgements)

    def expected(self) -> int:
        """Launches that are still to be expected."""
        if self._over:
            return 0
        waiting = self.search.expected() + self.originals.expected()
        if self.search.pursuit.delivered:
            return waiting
        spec = self.search.spec
        return waiting + min(spec.phones, len(self.judges.place.phones)) * spec.final_launches

    def ended(self) -> Ended:
        """What the pursuit has come to."""
        return Ended(self.search.pursuit.delivered, tuple(self.search.ranking()))

    def found(self, ended: Ended) -> Found:
        """Everything that the choice is made of."""
        verified = [*self.finals.verified(ended.delivered), *self.originals.verified()]
        return Found(
            chipset=self.search.place.chipset,
            verified=tuple(verified),
            beside=tuple(self.originals.entrants.values()),
            searched=(*self.search.standing(ended.ranking), *self.finals.unjudged()),
            remarks=(*self.judges.said(), *self.finals.remarks),
            spent=self.search.spent(),
        )


def hunt_on(search: Search, references: Sequence[Trial]) -> Hunt:
    """The hunt after the first looks of ``search``, on the devices that it began with."""
    own = [each for each in references if each.chipset == search.place.chipset and each.exported]
    judges = Judges(search.place, search.spec.phones)
    return Hunt(
        search,
        Finals(search, judges, search.spec),
        Originals(tuple(own), judges, search.spec),
        judges,
    )
