"""The fresh launches of one chipset's candidates: ordered on several phones, judged, told on; pure.

Only launches that are made here count for a verdict. They go on in rounds until each bound is
decided on each phone, see ``statistics.verdicts`` for why looking often costs no error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distillfarm.controller.decide import Entrant, Verified
from distillfarm.controller.judgement import Judgement, more_launches
from distillfarm.controller.judges import Judges
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.search.race import Look
from distillfarm.controller.search.verification import Ruling
from distillfarm.controller.searching import Search
from distillfarm.domain.ids import derived_id
from distillfarm.domain.study import StudySpec, Trial, Verdict


@dataclass
class Finals:
    """Turns the fresh looks of a search's pursuit into orders, and tells it what they showed."""

    search: Search
    judges: Judges
    spec: StudySpec
    remarks: list[str] = field(default_factory=list)
    _entrants: dict[str, Entrant] = field(default_factory=dict)
    _judged: dict[str, Judgement] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)
    _look: Look | None = None

    def barred(self) -> list[str]:
        """Candidates that no phone can verify any further at this moment."""
        return [key for key in self.search.entrants if not self._orders(Look(key, 1))]

    def orders(self, look: Look) -> list[Order]:
        """A fresh look on every phone that judges."""
        self._look = look
        return self._orders(look)

    def tell(self, taken: Sequence[Taken], judgements: Mapping[str, Judgement]) -> None:
        """Learn what came of orders, and how all fresh launches of the candidate are judged."""
        look, self._look = self._look, None
        if look is None:
            return
        here = [each for each in taken if each.trial.trial_id == self._trial(look.key).trial_id]
        measured = any(each.measured for each in here)
        for each in here:
            self._entrants[look.key] = each.entrant
            if each.trial.trial_id in judgements and (measured or look.key in self._judged):
                self._judged[look.key] = judgements[each.trial.trial_id]
        self._settle(look, here, measured=measured)

    def verified(self, best: str) -> list[Verified]:
        """What was judged, the ``best`` first, the others in the order in which that began."""
        order = sorted(self._judged, key=lambda key: key != best)
        return [
            Verified(self._entrants[key], self._judged[key].verdict, self._judged[key].phones)
            for key in order
        ]

    def unjudged(self) -> list[Entrant]:
        """Candidates that were to be measured anew, and could not."""
        return [each for key, each in self._entrants.items() if key not in self._judged]

    def _settle(self, look: Look, here: Sequence[Taken], *, measured: bool) -> None:
        """Tell the pursuit how its candidate stands."""
        pursuit, key = self.search.pursuit, look.key
        entrant, judged = self._entrants[key], self._judged.get(key)
        if entrant.hindrance and not entrant.unstable and measured:
            self._remark(entrant)
            pursuit.lost(key)
            return
        if judged is None:
            return
        values = self.search.learn_fresh(key, here)
        if entrant.unstable and key not in self._again:
            # Disturbed once: launched once more as often, whatever that shows; all launches count.
            self._again.add(key)
            pursuit.verified(look, values, self._owed)
        elif entrant.unstable:
            self._remark(entrant)
            pursuit.lost(key)
        elif self.judges.missing(entrant.trial, judged):
            # One phone of several was lost: what the others show is not enough while there is one.
            pursuit.verified(look, values, self._owed)
        else:
            more = more_launches(judged.verdict)
            pursuit.verified(look, values, Ruling(judged.verdict.verdict, more))
            if judged.verdict.verdict is Verdict.INCONCLUSIVE and key == pursuit.verifying:
                self._give_up(key)

    def _give_up(self, key: str) -> None:
        """Where every phone that is left has nothing more to show."""
        target = self._trial(key).candidate.target
        if self.judges.able(target) and not self._orders(Look(key, 1)):
            self.search.pursuit.lost(key)

    @property
    def _owed(self) -> Ruling:
        return Ruling(Verdict.INCONCLUSIVE, self.spec.final_launches, owed=True)

    def _remark(self, entrant: Entrant) -> None:
        self.remarks.append(f"Measured anew, {entrant.trial.candidate} is {entrant.hindrance}.")

    def _orders(self, look: Look) -> list[Order]:
        entrant = self._entrants.get(look.key)
        disturbed = entrant is not None and entrant.unstable
        judged = self._judged.get(look.key)
        return self.judges.orders(self._trial(look.key), look.launches, judged, disturbed=disturbed)

    def _trial(self, key: str) -> Trial:
        """The trial of a candidate's fresh launches; the search's keeps its own."""
        if key in self._entrants:
            return self._entrants[key].trial
        trial = self.search.entrants[key].trial
        parts = (trial.study_id, trial.chipset, str(trial.candidate), "final")
        return Trial(
            derived_id("trial", *parts),
            trial.study_id,
            trial.chipset,
            trial.candidate,
            exported=trial.exported,
            final=True,
        )
