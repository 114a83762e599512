"""One chipset raced and verified in turns: who follows whom, and what a replay asks for."""

import msgspec
from hunt_bench import Bench, bench

from distillfarm.controller.hunt import Asked, Hunt
from distillfarm.controller.orders import Order
from distillfarm.domain.study import Verdict


def flattered(recipe: str, _phone: str, _before: int) -> float:
    """The leader of the race turns out to be four times as slow as the next, and within."""
    return 8.0 if recipe == "int8_static" else 2.0


def flattering(*serials: str) -> Bench:
    """So many first launches as may show that the bound holds."""
    return bench(flattered, *serials, first_launches=9)


def test_a_leader_that_passes_is_followed_by_one_that_is_clearly_better_and_better_wins() -> None:
    made = flattering()
    choice = made.run()
    assert made.asked("int8_static") == [[("phone-1", 9), ("phone-2", 9)]]
    assert made.asked("fp16") == [[("phone-1", 9), ("phone-2", 9)]]
    assert choice.why.startswith("fp16")
    assert choice.verdict.verdict is Verdict.PASS
    assert "Passed as well: int8_static on onnxruntime/cpu/cpu" in choice.why


def test_nobody_follows_where_nobody_is_clearly_better() -> None:
    made = bench(lambda *_: 2.0)
    choice = made.run()
    assert choice.why.startswith("int8_static")
    assert made.asked("fp16") == []


def test_one_that_is_clearly_surpassed_makes_way_before_it_has_passed() -> None:
    made = bench(flattered)
    choice = made.run()
    assert made.asked("int8_static") == [[("phone-1", 7), ("phone-2", 7)]]
    assert choice.why.startswith("fp16")
    assert "not taken: int8_static on onnxruntime/cpu/cpu is judged inconclusive" in choice.why


def test_the_originals_are_launched_beside_the_first_that_is_verified_and_once() -> None:
    made = flattering()
    made.run()
    assert [(phone, n) for each in made.asked("original") for phone, n in each] == [("phone-1", 9)]
    assert any(name == "original" for name, _, _ in made.rounds[0])


def test_a_phone_that_is_lost_in_a_second_verification_leaves_it_to_the_others() -> None:
    made = flattering()
    made.goes_at = {"fp16": "phone-2"}
    choice = made.run()
    assert choice.why.startswith("fp16")
    assert choice.verdict.verdict is Verdict.PASS
    assert [each.device_id for each in choice.phones] == ["phone-1"]
    assert choice.why.count("phone-2 was lost during the verification") == 1


def test_what_has_passed_stands_where_every_phone_is_lost_in_a_second_verification() -> None:
    made = flattering("phone-1")
    made.goes_at = {"fp16": "phone-1"}
    choice = made.run()
    assert choice.why.startswith("int8_static")
    assert choice.verdict.verdict is Verdict.PASS


def test_out_of_time_the_leader_is_judged_and_nobody_after_it_has_passed() -> None:
    made = flattering()
    made.in_time = False
    choice = made.run()
    assert choice.why.startswith("int8_static")
    assert choice.verdict.verdict is Verdict.PASS
    assert made.asked("fp16") == []


def test_a_replay_asks_for_what_was_asked_for_and_goes_on_like_it() -> None:
    def played(after: int) -> tuple[Bench, list[list[Order]]]:
        """As after a crash: so many rounds are read back, and nothing of them is asked again."""
        first, again = flattering(), flattering()
        first.run()
        orders = []
        for asked, (taken, judged) in list(zip(first.asked_for, first.told, strict=False))[:after]:
            again.hunt.look_again([again.there])
            orders.append(again.hunt.orders(read_back(asked)))
            again.hunt.tell(taken, judged)
        return again, orders

    whole = flattering()
    whole.run()
    for after in range(len(whole.rounds) + 1):
        again, orders = played(after)
        made = [
            [(str(o.trial.candidate.recipe), o.device_id, o.launches) for o in each]
            for each in orders
        ]
        assert made == whole.rounds[:after]
        assert next_of(again.hunt, again) == whole.asked_for[after]


def read_back(asked: Asked) -> Asked:
    return msgspec.json.decode(msgspec.json.encode(asked), type=Asked)


def next_of(hunt: Hunt, made: Bench) -> Asked:
    hunt.look_again([made.there])
    return hunt.ask(in_time=True)
