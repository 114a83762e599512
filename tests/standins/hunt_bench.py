"""A chipset's hunt on phones that answer orders at once, for the tests of what is verified and how.

Every candidate was raced; what fresh launches show is made up by the test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import farm_samples
from made_trials import exported_of, make_trial

from distillfarm.compression import samplers
from distillfarm.controller.contests import contest_of
from distillfarm.controller.decide import Entrant, Found, choose
from distillfarm.controller.evidence import Evidence
from distillfarm.controller.hunt import Asked, Hunt, hunt_on
from distillfarm.controller.judgement import Judgement, judgement
from distillfarm.controller.lab import ChipsetLab, Phone
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.search.arms import arm
from distillfarm.controller.search.quantities import joined
from distillfarm.controller.searching import Search
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Choice, StudySpec, Trial
from distillfarm.statistics.summary import LaunchValues, launch_values

CHIP = "Google Tensor G2"
SLA = parse_sla("warm_p90<=10ms")
SPEC = replace(
    farm_samples.study_spec(), sla=SLA, phones=2, final_launches=7, max_final_launches=30
)
Milliseconds = Callable[[str, str, int], float]
"""The p90 of a recipe's launch on a phone, by how many launches were made there before."""


def values(*p90s_ms: float) -> LaunchValues:
    return launch_values([farm_samples.launch(round(each * 1e6)) for each in p90s_ms])


def lab(*serials: str) -> ChipsetLab:
    runs = ((farm_samples.ONNX, "1.30"),)
    phones = tuple(Phone(each, "build-1", runs) for each in serials)
    return ChipsetLab(CHIP, f"chipset={CHIP}", phones, (farm_samples.ONNX,))


def searched(place: ChipsetLab, spec: StudySpec, *trials: Trial) -> Search:
    """A search that is over: every trial was launched three times."""
    race, pursuit = contest_of(place, spec)
    search = Search(place, spec, samplers.create("grid", (), 0), 0, race, pursuit)
    race.enter([arm(each.trial_id, exported_of(each)) for each in trials])
    for each in trials:
        assert each.score is not None
        search.entrants[each.trial_id] = Entrant(each)
        pursuit.raced(each.trial_id, values(*[each.score.warm_p90_ms.value] * 3))
    return search


@dataclass
class Bench:
    """Phones that answer orders; ``gone`` ones do not, that which ``goes`` only in the first.

    That which ``goes_at`` a recipe does not answer from then on.
    """

    hunt: Hunt
    there: ChipsetLab
    milliseconds: Milliseconds
    gone: set[str] = field(default_factory=set)
    goes: str = ""
    goes_at: Mapping[str, str] = field(default_factory=dict)
    crashes: Mapping[str, str] = field(default_factory=dict)
    shown: dict[str, dict[str, list[LaunchValues]]] = field(default_factory=dict)
    rounds: list[list[tuple[str, str, int]]] = field(default_factory=list)
    asked_for: list[Asked] = field(default_factory=list)
    told: list[tuple[list[Taken], dict[str, Judgement]]] = field(default_factory=list)
    in_time: bool = True

    def run(self, spec: StudySpec = SPEC) -> Choice:
        """Measure until nothing more is asked for, and choose."""
        while orders := self._orders():
            recipes = [(str(e.trial.candidate.recipe), e.device_id, e.launches) for e in orders]
            self.rounds.append(recipes)
            assert len(self.rounds) < 50, self.rounds
            taken = together([self._take(each) for each in orders])
            lost = {each.device_id for each in taken if not each.measured} | self.hunt.judges.gone
            judged = {e.trial.trial_id: self._judged(e.trial, lost) for e in taken}
            self.told.append((taken, judged))
            self.hunt.tell(taken, judged)
        return choose(self.found, spec.sla, spec.objective)

    def _orders(self) -> list[Order]:
        self.hunt.look_again([self.there])
        self.asked_for.append(self.hunt.ask(in_time=self.in_time))
        return self.hunt.orders(self.asked_for[-1])

    @property
    def found(self) -> Found:
        return self.hunt.found(self.hunt.ended())

    def asked(self, recipe: str) -> list[list[tuple[str, int]]]:
        """Phones and launches of a recipe, round by round."""
        every = [[(phone, n) for name, phone, n in each if name == recipe] for each in self.rounds]
        return [each for each in every if each]

    def _take(self, order: Order) -> Taken:
        recipe, phone = str(order.trial.candidate.recipe), order.device_id
        if self.goes_at.get(recipe) == phone:
            self.gone.add(phone)
        if phone in self.gone or (phone == self.goes and len(self.rounds) > 1):
            trial = replace(order.trial, outcome_reason="not measured: 1 offline")
            return Taken(Entrant(trial), phone, measured=False)
        if self.crashes.get(recipe) == phone:
            trial = replace(order.trial, outcome=Outcome.CRASHED, outcome_reason="SIGSEGV")
            return Taken(Entrant(trial), phone, launches=1)
        here = self.shown.setdefault(order.trial.trial_id, {}).setdefault(phone, [])
        before = sum(len(each.warm_p90_ms) for each in here)
        made = [self.milliseconds(recipe, phone, before + n) for n in range(order.launches)]
        here.append(values(*made))
        score = make_trial(recipe, p90_ms=sorted(made)[len(made) // 2]).score
        trial = replace(order.trial, outcome=Outcome.OK, score=score)
        return Taken(Entrant(trial), phone, values=here[-1], launches=len(made), device_s=1.0)

    def _judged(self, trial: Trial, lost: set[str]) -> Judgement:
        shown = self.shown.get(trial.trial_id, {})
        score = make_trial().score
        assert score is not None
        evidence = {phone: Evidence(score, joined(found)) for phone, found in shown.items()}
        return judgement(trial.trial_id, SLA, evidence, lost)


FAST, SLOW = make_trial("int8_static", p90_ms=1.0), make_trial("fp16", p90_ms=2.0)
ORIGINAL = make_trial("original", p90_ms=4.0, reference=True)


def together(taken: list[Taken]) -> list[Taken]:
    """Orders on several phones are one trial, which stands by what was measured."""
    measured = {each.trial.trial_id: each.entrant for each in taken if each.measured}
    return [replace(e, entrant=measured.get(e.trial.trial_id, e.entrant)) for e in taken]


def bench(
    milliseconds: Milliseconds,
    *serials: str,
    there: ChipsetLab | None = None,
    first_launches: int = SPEC.final_launches,
) -> Bench:
    place = lab(*(serials or ("phone-1", "phone-2")))
    search = searched(place, replace(SPEC, final_launches=first_launches), FAST, SLOW)
    return Bench(hunt_on(search, [ORIGINAL]), there or place, milliseconds)
