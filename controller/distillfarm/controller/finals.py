"""The verification on one chipset: the best of the search anew, on several phones; pure.

Only launches that are made here count. They go on in rounds until each bound is decided on each
phone, see ``statistics.verdicts`` for why looking often costs no error. The originals are launched
beside the first round for comparison, and verified themselves where nothing compressed passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from distillfarm.controller.accounts import Tally
from distillfarm.controller.decide import Entrant, Found, Verified
from distillfarm.controller.evidence import observed
from distillfarm.controller.judgement import Judgement, more_launches
from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.search.verification import Verification
from distillfarm.controller.searching import Search
from distillfarm.domain.hardware import Target
from distillfarm.domain.ids import derived_id
from distillfarm.domain.study import StudySpec, Trial, Verdict

MOST_CANDIDATES = 3
"""So many of the best are measured anew at most, until one passes."""


@dataclass
class Finals:
    """What is measured anew on one chipset.

    Call ``orders`` and, with what came of them and how it is judged, ``tell`` in turns until there
    are none. ``ranking`` are the search's trials, the best first; ``place`` is the chipset as it
    is when the search is over, perhaps without devices. ``dead`` are devices that were lost since.
    """

    search: Search
    ranking: tuple[str, ...]
    place: ChipsetLab
    references: tuple[Trial, ...]
    spec: StudySpec
    tally: Tally = field(default_factory=Tally)
    remarks: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    _trials: dict[str, Trial] = field(default_factory=dict)
    _entrants: dict[str, Entrant] = field(default_factory=dict)
    _judged: dict[str, Judgement] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)
    _verification: Verification | None = None
    _originals: bool = False

    def orders(self) -> list[Order]:
        """The next fresh launches; none when somebody has passed or nobody is left."""
        if self._verification is None:
            self._verification = self._verify(
                [_final(each.trial) for each in self.search.leading(self.ranking)]
            )
            return [*self._next(), *self._beside(self.references)]
        disturbed = self._disturbed_references()
        orders = [*self._next(), *self._beside(disturbed)]
        if not orders and not self._originals and not self._passed():
            # No candidate holds what was promised: does the original?
            self._originals = True
            self._verification = self._verify(self._able_references())
            orders = self._next()
        return orders

    def tell(self, taken: Sequence[Taken], judgements: Mapping[str, Judgement]) -> None:
        """Learn what came of orders, and how all fresh launches of each trial are judged by now."""
        here = [each for each in taken if each.trial.trial_id in self._trials]
        self.tally.add(here)
        for each in here:
            self._trials[each.trial.trial_id] = each.trial
            self._entrants[each.trial.trial_id] = each.entrant
            if not each.measured and each.device_id not in self.dead:
                self.dead.add(each.device_id)
                self.remarks.append(
                    f"{each.device_id} was lost during the verification"
                    f" ({each.trial.outcome_reason or 'its job failed'})."
                )
        for key in {each.trial.trial_id for each in here if each.measured}:
            if key in judgements:
                self._judged[key] = judgements[key]
        look = self._verification.ask() if self._verification else None
        if look is not None and look.key in {each.trial.trial_id for each in here}:
            self._settle(look.key, any(e.measured for e in here if e.trial.trial_id == look.key))

    def found(self) -> Found:
        """Everything that the choice is made of."""
        verified = {
            key: Verified(self._entrants[key], each.verdict, each.phones)
            for key, each in self._judged.items()
            if not self._trials[key].reference or self._originals
        }
        beside = [e for key, e in self._entrants.items() if e.trial.reference]
        unjudged = [
            each
            for key, each in self._entrants.items()
            if key not in verified and each not in beside
        ]
        return Found(
            chipset=self.search.place.chipset,
            verified=tuple(verified.values()),
            beside=tuple(beside),
            searched=(*self.search.standing(self.ranking), *unjudged),
            remarks=(*self._said_of_phones(), *self.remarks),
            spent=self.search.spent(self.tally),
        )

    def _verify(self, trials: Sequence[Trial]) -> Verification:
        for each in trials:
            self._trials.setdefault(each.trial_id, each)
        return Verification(
            [each.trial_id for each in trials],
            self.spec.final_launches,
            self.spec.max_final_launches,
            MOST_CANDIDATES,
        )

    def _beside(self, references: Sequence[Trial]) -> list[Order]:
        """Originals, on the first phone that can run each."""
        orders = []
        for each in references:
            phones = self._phones(each.candidate.target)
            if each.exported is not None and phones:
                trial = replace(each, final=True)
                self._trials[trial.trial_id] = trial
                orders.append(Order(trial, self.place, self.spec.final_launches, phones[0]))
        return orders

    def _disturbed_references(self) -> list[Trial]:
        """Originals whose launches differed too much, once: they are launched as often again."""
        found = [
            each.trial
            for key, each in self._entrants.items()
            if each.trial.reference and each.unstable and key not in self._again
        ]
        self._again.update(each.trial_id for each in found)
        return found

    def _able_references(self) -> list[Trial]:
        """The originals that ran well beside the first round, the best in the objective first."""
        able = [e.trial for e in self._entrants.values() if e.trial.reference and not e.hindrance]

        def rank(trial: Trial) -> tuple[float, str]:
            seen = observed(self.spec.objective, trial.score) if trial.score else None
            return seen.value if seen else 0.0, str(trial.candidate)

        return sorted(able, key=rank)

    def _next(self) -> list[Order]:
        while self._verification is not None and (look := self._verification.ask()):
            trial = self._trials[look.key]
            wanted = [
                (phone, self._wanted(trial, phone, look.launches))
                for phone in self._phones(trial.candidate.target)
            ]
            orders = [Order(trial, self.place, count, phone) for phone, count in wanted if count]
            if orders:
                return orders
            self._verification.lost(look.key)
        return []

    def _wanted(self, trial: Trial, device_id: str, launches: int) -> int:
        """How many of ``launches`` a phone is asked for: none where it has decided every bound."""
        judged = self._judged.get(trial.trial_id)
        phones = judged.phones if judged else ()
        here = next((each for each in phones if each.device_id == device_id), None)
        if here is None or self._entrants[trial.trial_id].unstable:
            return launches
        return min(launches, more_launches(here.verdict))

    def _phones(self, target: Target) -> tuple[str, ...]:
        """As many phones as are asked for, of those that are there and can run the target."""
        able = [
            each.device_id
            for each in self.place.phones
            if each.device_id not in self.dead and each.version(target) is not None
        ]
        return tuple(able[: self.spec.phones])

    def _settle(self, key: str, measured: bool) -> None:
        """Tell the verification how its candidate stands."""
        if self._verification is None:
            return
        entrant, judged = self._entrants[key], self._judged.get(key)
        if entrant.unstable and key not in self._again:
            # Disturbed once: launched once more as often, whatever that shows; all launches count.
            self._again.add(key)
            self._verification.tell(key, Verdict.INCONCLUSIVE, self.spec.final_launches)
        elif entrant.hindrance and measured:
            self.remarks.append(f"Measured anew, {entrant.trial.candidate} is {entrant.hindrance}.")
            self._verification.lost(key)
        elif judged is not None and self._missing(entrant.trial, judged):
            # One phone of several was lost: what the others show is not enough while there is one.
            self._verification.tell(key, Verdict.INCONCLUSIVE, self.spec.final_launches)
        elif judged is not None:
            more = more_launches(judged.verdict)
            self._verification.tell(key, judged.verdict.verdict, more)

    def _missing(self, trial: Trial, judged: Judgement) -> bool:
        """Whether it passed on fewer phones than it can be measured on."""
        if judged.verdict.verdict is not Verdict.PASS:
            return False
        phones = self._phones(trial.candidate.target)
        seen = {each.device_id for each in judged.phones}
        return len(seen) < self.spec.phones and not seen.issuperset(phones)

    def _passed(self) -> bool:
        return any(
            each.verdict.verdict is Verdict.PASS and not self._entrants[key].hindrance
            for key, each in self._judged.items()
            if not self._trials[key].reference
        )

    def _said_of_phones(self) -> list[str]:
        """Why there were fewer phones than asked for."""
        if not self.place.phones:
            return ["When the search was over none of the chipset's devices was left."]
        alive = [each for each in self.place.phones if each.device_id not in self.dead]
        if len(alive) >= self.spec.phones or not self._judged:
            return []
        count = f"{len(alive)} device{'' if len(alive) == 1 else 's'}"
        return [
            f"The lab had {count} of this chipset where {self.spec.phones} were asked for, so"
            " how devices of it differ is not shown."
        ]


def finals_of(
    search: Search,
    ranking: Sequence[str],
    there: Sequence[ChipsetLab],
    references: Sequence[Trial],
) -> Finals:
    """The verification after ``search``, on the devices that are ``there`` now."""
    chipset = search.place.chipset
    gone = replace(search.place, phones=())
    place = next((each for each in there if each.chipset == chipset), gone)
    own = tuple(each for each in references if each.chipset == chipset and each.exported)
    return Finals(search, tuple(ranking), place, own, search.spec)


def _final(trial: Trial) -> Trial:
    """The trial of the fresh launches of a candidate; the search's keeps its own."""
    parts = (trial.study_id, trial.chipset, str(trial.candidate), "final")
    return Trial(
        derived_id("trial", *parts),
        trial.study_id,
        trial.chipset,
        trial.candidate,
        exported=trial.exported,
        final=True,
    )
