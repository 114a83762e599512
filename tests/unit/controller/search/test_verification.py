"""Who is verified, in what order and how long."""

from distillfarm.controller.search.race import Look
from distillfarm.controller.search.verification import Verification
from distillfarm.domain.study import Verdict


def verification() -> Verification:
    return Verification(["a", "b", "c", "d"], 7, 40, most_candidates=3)


def test_the_best_is_verified_first_and_nobody_after_it_has_passed() -> None:
    order = verification()
    assert order.ask() == Look("a", 7)
    order.tell("a", Verdict.PASS, 0)
    assert order.ask() is None
    best = order.best()
    assert best is not None
    assert (best.key, best.verdict, best.launches) == ("a", Verdict.PASS, 7)


def test_an_open_verdict_gets_what_it_probably_takes_but_no_more_than_it_had() -> None:
    order = verification()
    order.tell("a", Verdict.INCONCLUSIVE, 4)
    assert order.ask() == Look("a", 4)
    order.tell("a", Verdict.INCONCLUSIVE, 99)
    assert order.ask() == Look("a", 11)


def test_the_next_best_follows_one_that_failed() -> None:
    order = verification()
    order.tell("a", Verdict.FAIL, 0)
    assert order.ask() == Look("b", 7)


def test_one_that_would_take_far_too_long_is_given_up_but_not_by_its_first_launches() -> None:
    order = verification()
    order.tell("a", Verdict.INCONCLUSIVE, 500)
    assert order.ask() == Look("a", 7)
    order.tell("a", Verdict.INCONCLUSIVE, 500)
    assert order.ask() == Look("b", 7)


def test_no_more_candidates_are_tried_than_allowed_and_an_open_one_beats_a_failed_one() -> None:
    order = verification()
    order.tell("a", Verdict.FAIL, 0)
    order.tell("b", Verdict.INCONCLUSIVE, 500)
    order.tell("b", Verdict.INCONCLUSIVE, 500)
    order.tell("c", Verdict.FAIL, 0)
    assert order.ask() is None
    best = order.best()
    assert best is not None
    assert best.key == "b"


def test_no_candidate_gets_more_launches_than_allowed() -> None:
    order = verification()
    made = 0
    while (look := order.ask()) and look.key == "a":
        made += look.launches
        order.tell("a", Verdict.INCONCLUSIVE, 20)
    assert made == 40


def test_a_new_order_leaves_the_one_that_was_begun_in_front() -> None:
    order = verification()
    order.tell("a", Verdict.INCONCLUSIVE, 7)
    order.reorder(["d", "a", "c"])
    assert order.ask() == Look("a", 7)
    order.lost("a")
    assert order.ask() == Look("d", 7)
