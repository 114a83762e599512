"""The search on one chipset: what to build and to measure next, and what it has cost; pure.

The sampler proposes candidates, the pursuit of ``controller.search`` says which of those that were
built are launched how often. What it was told, in that order, decides all that it says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from distillfarm.compression.protocols import Sampler
from distillfarm.controller.accounts import Tally, exhausted
from distillfarm.controller.decide import Entrant
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.scoring import guessed, observation
from distillfarm.controller.search.arms import arm
from distillfarm.controller.search.learning import Measured
from distillfarm.controller.search.pursuit import Pursuit
from distillfarm.controller.search.quantities import joined
from distillfarm.controller.search.race import Look, Race
from distillfarm.domain.study import Spent, StudySpec, Trial
from distillfarm.domain.variant import Candidate
from distillfarm.statistics.summary import LaunchValues

GRID_REPEATS = 3
"""How often a full grid measures every candidate, by which a search's spending is judged."""
# Candidates asked for at once, for each target: the sampler learns between rounds.
_ROUND = 2


@dataclass
class Search:
    """The search on one chipset; its fresh launches are counted apart.

    Call ``propose`` and ``enter`` what was built of it; then ``first_looks`` and ``tell`` in turns
    until there are none; then ``propose`` again, until nothing is proposed. Then its ``pursuit``
    says what comes next.
    """

    place: ChipsetLab
    spec: StudySpec
    sampler: Sampler
    left: int
    race: Race
    pursuit: Pursuit
    entrants: dict[str, Entrant] = field(default_factory=dict)
    values: dict[str, list[LaunchValues]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    fresh: Tally = field(default_factory=Tally)
    lost: bool = False
    _elsewhere: list[Measured] = field(default_factory=list)

    def propose(self) -> Sequence[Candidate]:
        """The next candidates to build; none when a budget or the space is used up."""
        if self.over or self.pursuit.first_turn_over:
            return ()
        asked = self.sampler.ask(min(self.left, _ROUND * len(self.place.targets)))
        self.left = self.left - len(asked) if asked else 0
        return asked

    def enter(self, trials: Sequence[Trial]) -> None:
        """Take what was built, or refused, of this chipset's candidates into the race."""
        here = [each for each in trials if each.chipset == self.place.chipset]
        for trial in here:
            self.entrants[trial.trial_id] = Entrant(trial)
        self.race.enter([arm(each.trial_id, each.exported) for each in here if each.exported])
        self._note()

    def first_looks(self) -> list[Order]:
        """The next launches of candidates that were not launched yet, while more is to be built."""
        if self.over:
            return []
        looks = self.pursuit.first_looks()
        return self.orders([each for each in looks if self._trial(each.key).outcome is None])

    def orders(self, looks: Sequence[Look]) -> list[Order]:
        """Looks of the race as orders."""
        self._note()
        return [
            Order(replace(self._trial(each.key), skipped=""), self.place, each.launches)
            for each in looks
        ]

    def tell(self, taken: Sequence[Taken]) -> None:
        """Learn what became of orders.

        Where none of them could be measured the chipset's devices are gone or broken: the search
        ends there, lest every other chipset waits for them in every round. What was found stands.
        """
        here = [each for each in taken if each.trial.chipset == self.place.chipset]
        for each in here:
            key = each.trial.trial_id
            self.entrants[key] = each.entrant
            if each.values is not None:
                self.values.setdefault(key, []).append(each.values)
            self.pursuit.raced(key, each.values, steady=each.entrant.stable)
        self._note()
        self.tally.add(here)
        self.lost = self.lost or (bool(here) and not any(each.measured for each in here))

    def learn_fresh(self, key: str, taken: Sequence[Taken]) -> LaunchValues | None:
        """What fresh launches of a candidate showed on all phones; others learn from it, too."""
        shown = [each.values for each in taken if each.values is not None]
        if not shown:
            return None
        self.values.setdefault(key, []).extend(shown)
        return joined(shown)

    def learn(self, known: Sequence[Measured]) -> None:
        """What is known by now of all chipsets, and from other studies."""
        elsewhere = [each for each in known if each.chipset != self.place.chipset]
        if elsewhere != self._elsewhere:
            # Only what is new, for whatever is learnt makes the race fit everything anew.
            self._elsewhere = elsewhere
            self.race.learn(elsewhere)

    def inform_sampler(self) -> None:
        """Tell the sampler how every candidate stands by now."""
        scores = [each.score for each in self.trials() if each.score is not None]
        slowest_ms = max((each.warm_p90_ms.value for each in scores), default=None)
        for trial in self.trials():
            guess_ms = trial.prediction.warm_p90_ms.value if trial.prediction else slowest_ms
            seen = observation(trial, self.spec.sla)
            if trial.skipped and trial.exported is not None and guess_ms is not None:
                seen = guessed(trial.exported, self.spec.sla, guess_ms)
            self.sampler.tell(seen)

    @property
    def over(self) -> bool:
        """Whether nothing more may be raced here."""
        return bool(self.why_over)

    @property
    def why_over(self) -> str:
        """What ended it before the pursuit did, for people; nothing where nothing did."""
        if self.lost:
            return "nothing could be measured, its search ends here"
        device_s = self.tally.device_s + self.fresh.device_s
        return exhausted(self.spec.budget, self.race.launches, device_s)

    def measured(self) -> list[Measured]:
        """What others may learn from this chipset."""
        return [
            Measured(self.place.chipset, arm(key, trial.exported), joined(values))
            for key, values in self.values.items()
            if (trial := self._trial(key)).exported is not None
        ]

    def ranking(self) -> list[str]:
        """The trials that may be measured anew, by their ids, the best first."""
        return list(self.race.standing())

    def leading(self, ranking: Sequence[str]) -> list[Entrant]:
        """Those that may be measured anew, in the order of the race.

        Few launches that differ too much give no number, but fresh ones may: such go last.
        """
        ranked = [self.entrants[key] for key in ranking]
        able = [each for each in ranked if not each.hindrance]
        return [*able, *(each for each in ranked if each.unstable)]

    def standing(self, ranking: Sequence[str]) -> list[Entrant]:
        """Every candidate, those that lead first."""
        leading = self.leading(ranking)
        keys = {each.trial.trial_id for each in leading}
        return leading + [each for key, each in self.entrants.items() if key not in keys]

    def trials(self) -> list[Trial]:
        """Every trial as it stands."""
        return [each.trial for each in self.entrants.values()]

    def spent(self) -> Spent:
        """What was used here."""
        built = [each for each in self.trials() if each.exported is not None]
        return Spent(
            candidates=len(built),
            skipped=sum(bool(each.skipped) for each in built),
            measurements=self.tally.measurements + self.fresh.measurements,
            reused=self.tally.reused,
            launches=self.tally.launches,
            grid_launches=GRID_REPEATS * self.spec.launches * len(built),
            device_s=self.tally.device_s + self.fresh.device_s,
            waited_s=self.tally.waited_s + self.fresh.waited_s,
            final_launches=self.fresh.launches,
        )

    def expected(self) -> int:
        """Launches that are still to be expected of the search."""
        if self.over:
            return 0
        unseen = [each for each in self.trials() if each.exported and each.outcome is None]
        waiting = sum(not each.skipped for each in unseen)
        return (self.left + waiting) * self.spec.launches

    def _trial(self, key: str) -> Trial:
        return self.entrants[key].trial

    def _note(self) -> None:
        """Write into the trials what the race thinks of them."""
        skipped = self.race.skipped()
        for key, entrant in self.entrants.items():
            trial = entrant.trial
            if trial.exported is not None and trial.outcome is None:
                noted = replace(
                    trial,
                    skipped=skipped.get(key, ""),
                    prediction=trial.prediction or self.race.prediction(key),
                )
                self.entrants[key] = replace(entrant, trial=noted)


def share(searches: Sequence[Search], earlier: Sequence[Measured]) -> None:
    """Let each search learn what all of them have measured, and what was measured before."""
    known = [*earlier, *(measured for each in searches for measured in each.measured())]
    for each in searches:
        each.learn(known)
