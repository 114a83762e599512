"""The best of a search measured anew: on which phones, how long, and who comes next."""

from dataclasses import replace

from hunt_bench import FAST, ORIGINAL, SPEC, bench, lab, values

from distillfarm.controller.decide import Entrant
from distillfarm.domain.study import Verdict


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
    assert "phone-2 was lost during the verification (its job failed)." in choice.why


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
    search = made.hunt.search
    search.entrants[FAST.trial_id] = Entrant(FAST, stable=False)
    search.pursuit.raced(FAST.trial_id, values(1.0), steady=False)
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
