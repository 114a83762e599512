"""The best of a search measured anew: on which phones, how long, and who comes next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import farm_samples
from made_trials import exported_of, make_trial

from distillfarm.compression import samplers
from distillfarm.controller.decide import Entrant, Found, choose
from distillfarm.controller.evidence import Evidence
from distillfarm.controller.finals import Finals, finals_of
from distillfarm.controller.judgement import Judgement, judgement
from distillfarm.controller.lab import ChipsetLab, Phone
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.search.arms import arm
from distillfarm.controller.search.race import Race
from distillfarm.controller.searching import Search, joined
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Choice, StudySpec, Trial, Verdict
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


def searched(place: ChipsetLab, *trials: Trial) -> Search:
    """A search that is over: every trial was launched three times."""
    race = Race(CHIP, SLA, SPEC.objective, SPEC.launches, 0)
    search = Search(place, SPEC, samplers.create("grid", (), 0), 0, race)
    race.enter([arm(each.trial_id, exported_of(each)) for each in trials])
    for each in trials:
        assert each.score is not None
        search.entrants[each.trial_id] = Entrant(each)
        race.tell(each.trial_id, values(*[each.score.warm_p90_ms.value] * 3))
    return search


@dataclass
class Bench:
    """Phones that answer orders; ``gone`` ones do not, that which ``goes`` only in the first."""

    finals: Finals
    milliseconds: Milliseconds
    gone: set[str] = field(default_factory=set)
    goes: str = ""
    crashes: Mapping[str, str] = field(default_factory=dict)
    shown: dict[str, dict[str, list[LaunchValues]]] = field(default_factory=dict)
    rounds: list[list[tuple[str, str, int]]] = field(default_factory=list)

    def run(self, spec: StudySpec = SPEC) -> Choice:
        """Measure until nothing more is asked for, and choose."""
        while orders := self.finals.orders():
            recipes = [(str(e.trial.candidate.recipe), e.device_id, e.launches) for e in orders]
            self.rounds.append(recipes)
            assert len(self.rounds) < 50, self.rounds
            taken = [self._take(each) for each in orders]
            lost = {each.device_id for each in taken if not each.measured} | self.finals.dead
            judged = {e.trial.trial_id: self._judged(e.trial, lost) for e in taken}
            self.finals.tell(taken, judged)
        return choose(self.found, spec.sla, spec.objective)

    @property
    def found(self) -> Found:
        return self.finals.found()

    def asked(self, recipe: str) -> list[list[tuple[str, int]]]:
        """Phones and launches of a recipe, round by round."""
        every = [[(phone, n) for name, phone, n in each if name == recipe] for each in self.rounds]
        return [each for each in every if each]

    def _take(self, order: Order) -> Taken:
        recipe, phone = str(order.trial.candidate.recipe), order.device_id
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


def bench(milliseconds: Milliseconds, *serials: str, there: ChipsetLab | None = None) -> Bench:
    place = lab(*(serials or ("phone-1", "phone-2")))
    search = searched(place, FAST, SLOW)
    return Bench(finals_of(search, search.ranking(), [there or place], [ORIGINAL]), milliseconds)


def test_the_best_is_launched_on_each_phone_until_the_bound_is_decided() -> None:
    made = bench(lambda *_: 1.0)
    choice = made.run()
    first, second = made.asked("int8_static")
    assert first == [("phone-1", 7), ("phone-2", 7)]
    assert second == [("phone-1", 2), ("phone-2", 2)]
    assert made.asked("fp16") == []
    assert made.asked("original") == [[("phone-1", 7)]]
    assert choice.verdict.verdict is Verdict.PASS
    assert [(each.device_id, each.launches) for each in choice.phones] == [
        ("phone-1", 9),
        ("phone-2", 9),
    ]


def test_each_phone_is_launched_no_more_than_its_own_verdict_needs() -> None:
    def lively(recipe: str, phone: str, before: int) -> float:
        return 30.0 if (phone, before) == ("phone-2", 3) else 1.0

    made = bench(lively)
    choice = made.run()
    assert choice.verdict.verdict is Verdict.PASS
    by_phone = {each.device_id: each.launches for each in choice.phones}
    assert by_phone["phone-1"] == 9 < by_phone["phone-2"]


def test_one_phone_that_breaks_the_bound_brings_the_next_candidate() -> None:
    def late(recipe: str, phone: str, before: int) -> float:
        return 30.0 if (recipe, phone) == ("int8_static", "phone-2") else 2.0

    made = bench(late)
    choice = made.run()
    assert "fp16" in choice.why.split(":")[0]
    assert choice.verdict.verdict is Verdict.PASS
    assert "not taken: int8_static on onnxruntime/cpu/cpu is judged fail" in choice.why


def test_where_no_candidate_passes_the_original_is_verified() -> None:
    made = bench(lambda recipe, *_: 4.0 if recipe == "original" else 30.0)
    choice = made.run()
    assert choice.trial_id == ORIGINAL.trial_id
    assert choice.verdict.verdict is Verdict.PASS
    assert [each.device_id for each in choice.phones] == ["phone-1", "phone-2"]


def test_a_bound_that_cannot_be_decided_is_left_open_with_what_would_settle_it() -> None:
    made = bench(lambda _recipe, _phone, before: 9.0 if before % 2 else 11.0)
    choice = made.run()
    assert choice.verdict.verdict is Verdict.INCONCLUSIVE
    assert all(each.launches <= SPEC.max_final_launches for each in choice.phones)
    assert "What would settle it: warm_p90<=10ms" in choice.why


def test_a_spare_phone_takes_the_place_of_one_that_is_lost() -> None:
    made = bench(lambda *_: 1.0, "phone-1", "phone-2", "phone-3")
    made.gone = {"phone-2"}
    choice = made.run()
    assert [each.device_id for each in choice.phones] == ["phone-1", "phone-3"]
    assert choice.verdict.verdict is Verdict.PASS
    assert "phone-2 was lost during the verification (not measured: 1 offline)." in choice.why


def test_a_phone_that_is_lost_before_it_decided_leaves_no_bound_open() -> None:
    made = bench(lambda *_: 1.0)
    made.goes = "phone-2"
    choice = made.run()
    assert choice.why.startswith("int8_static")
    assert choice.verdict.verdict is Verdict.PASS
    assert [each.device_id for each in choice.phones] == ["phone-1"]
    assert "phone-2 was lost during the verification" in choice.why


def test_one_phone_alone_judges_and_that_is_said() -> None:
    choice = bench(lambda *_: 1.0, "phone-1").run()
    assert choice.verdict.verdict is Verdict.PASS
    assert "The lab had 1 device of this chipset where 2 were asked for" in choice.why


def test_without_any_phone_left_what_led_the_search_is_not_judged() -> None:
    gone = lab("phone-1")
    made = bench(lambda *_: 1.0, there=replace(gone, phones=()))
    choice = made.run()
    assert made.rounds == []
    assert (choice.trial_id, choice.verdict.verdict) == (FAST.trial_id, Verdict.INCONCLUSIVE)
    assert "none of the chipset's devices was left" in choice.why


def test_a_crash_on_one_phone_brings_the_next_candidate() -> None:
    made = bench(lambda *_: 1.0)
    made.crashes = {"int8_static": "phone-2"}
    choice = made.run()
    assert choice.why.startswith("fp16")
    assert "Measured anew, int8_static on onnxruntime/cpu/cpu is crashed: SIGSEGV." in choice.why


def test_what_was_unstable_in_the_search_is_measured_anew_after_the_others() -> None:
    made = bench(lambda recipe, *_: 30.0 if recipe == "fp16" else 1.0)
    search = made.finals.search
    search.entrants[FAST.trial_id] = Entrant(FAST, stable=False)
    choice = made.run()
    assert next(names for names, *_ in made.rounds[0] if names != "original") == "fp16"
    assert choice.why.startswith("int8_static")
    assert choice.verdict.verdict is Verdict.PASS


def test_what_was_spent_is_told_apart_for_the_search_and_its_verification() -> None:
    choice = bench(lambda *_: 1.0).run()
    assert choice.spent is not None
    assert choice.spent.final_launches == 2 * 9 + 7
    assert choice.spent.grid_launches == 3 * SPEC.launches * 2
    assert choice.spent.device_s == 5.0
