"""The untouched models of one chipset: launched beside the candidates, and judged themselves; pure.

They are what a winner is compared with, and what is left where nothing compressed passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from distillfarm.controller.decide import Entrant, Verified
from distillfarm.controller.evidence import observed
from distillfarm.controller.judgement import Judgement, more_launches
from distillfarm.controller.judges import Judges
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.search.race import Look
from distillfarm.controller.search.verification import Ruling, Verification
from distillfarm.domain.study import StudySpec, Trial, Verdict


@dataclass
class Originals:
    """First ``beside`` until it gives nothing, then ``alone`` where no candidate has passed."""

    trials: tuple[Trial, ...]
    judges: Judges
    spec: StudySpec
    entrants: dict[str, Entrant] = field(default_factory=dict)
    _judged: dict[str, Judgement] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)
    _verification: Verification | None = None
    _look: Look | None = None

    def beside(self) -> list[Order]:
        """Every one on the first phone that can run it; once more where its launches differ."""
        disturbed = [
            each.trial
            for key, each in self.entrants.items()
            if each.unstable and key not in self._again and self._verification is None
        ]
        self._again.update(each.trial_id for each in disturbed)
        waiting = [each for each in self.trials if each.trial_id not in self.entrants]
        orders = []
        for each in (*waiting, *disturbed):
            phones = self.judges.able(each.candidate.target)
            if phones:
                trial = replace(each, final=True)
                orders.append(Order(trial, self.judges.place, self.spec.final_launches, phones[0]))
        return orders

    def alone(self) -> list[Order]:
        """The next launches by which they are judged themselves, on every phone."""
        if self._verification is None:
            self._verification = Verification(
                [each.trial_id for each in self._able()],
                self.spec.final_launches,
                self.spec.max_final_launches,
            )
        while look := self._verification.ask():
            entrant, judged = self.entrants[look.key], self._judged.get(look.key)
            disturbed = entrant.unstable
            orders = self.judges.orders(entrant.trial, look.launches, judged, disturbed=disturbed)
            if orders:
                self._look = look
                return orders
            self._verification.lost(look.key)
        return []

    def tell(self, taken: Sequence[Taken], judgements: Mapping[str, Judgement]) -> None:
        """Learn what came of orders, and how all launches of each are judged by now."""
        own = {each.trial_id for each in self.trials}
        here = [each for each in taken if each.trial.trial_id in own]
        for each in here:
            key = each.trial.trial_id
            self.entrants[key] = each.entrant
            if key in judgements and (each.measured or key in self._judged):
                self._judged[key] = judgements[key]
        look, self._look = self._look, None
        if look is not None and self._verification is not None:
            self._settle(look, measured=any(each.measured for each in here))

    def verified(self) -> list[Verified]:
        """Those that were judged themselves."""
        if self._verification is None:
            return []
        return [
            Verified(self.entrants[key], each.verdict, each.phones)
            for key, each in self._judged.items()
        ]

    def expected(self) -> int:
        """Launches that are still to be expected beside the candidates."""
        waiting = [each for each in self.trials if each.trial_id not in self.entrants]
        return len(waiting) * self.spec.final_launches

    def _settle(self, look: Look, *, measured: bool) -> None:
        verification, judged = self._verification, self._judged.get(look.key)
        if verification is None:
            return
        entrant = self.entrants[look.key]
        owed = Ruling(Verdict.INCONCLUSIVE, self.spec.final_launches)
        if entrant.unstable and look.key not in self._again:
            self._again.add(look.key)
            verification.tell(look, owed)
        elif entrant.hindrance and measured:
            verification.lost(look.key)
        elif judged is not None and self.judges.missing(entrant.trial, judged):
            verification.tell(look, owed)
        elif judged is not None:
            ruling = Ruling(judged.verdict.verdict, more_launches(judged.verdict))
            verification.tell(look, ruling)

    def _able(self) -> list[Trial]:
        """Those that ran well beside the candidates, the best in the objective first."""
        able = [each.trial for each in self.entrants.values() if not each.hindrance]

        def rank(trial: Trial) -> tuple[float, str]:
            seen = observed(self.spec.objective, trial.score) if trial.score else None
            return seen.value if seen else 0.0, str(trial.candidate)

        return sorted(able, key=rank)
