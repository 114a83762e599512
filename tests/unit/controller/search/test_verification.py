"""How long candidates are verified, and in what order."""

from distillfarm.controller.search.race import Look
from distillfarm.controller.search.verification import Patience, Ruling, Verification
from distillfarm.domain.study import Verdict

PASS, FAIL = Ruling(Verdict.PASS), Ruling(Verdict.FAIL)


def verification() -> Verification:
    return Verification(["a", "b"], 7, 40)


def opened(more: int) -> Ruling:
    return Ruling(Verdict.INCONCLUSIVE, more)


def test_the_first_is_verified_first_and_nobody_after_it_has_passed() -> None:
    order = verification()
    assert order.ask() == Look("a", 7)
    order.tell(Look("a", 7), PASS)
    assert order.ask() is None


def test_the_next_follows_one_that_failed_or_cannot_be_measured() -> None:
    order = verification()
    order.tell(Look("a", 7), FAIL)
    assert order.ask() == Look("b", 7)
    order.lost("b")
    assert order.ask() is None


def test_an_open_verdict_gets_what_it_probably_takes_but_no_more_than_it_had() -> None:
    patience = Patience(7, 40)
    patience.tell(7, opened(4))
    assert patience.next == 4
    patience.tell(4, opened(99))
    assert patience.next == 11


def test_one_that_would_take_far_too_long_is_given_up_but_not_by_its_first_launches() -> None:
    order = verification()
    order.tell(Look("a", 7), opened(500))
    assert order.ask() == Look("a", 7)
    order.tell(Look("a", 7), opened(500))
    assert order.ask() == Look("b", 7)


def test_no_candidate_gets_more_launches_than_allowed() -> None:
    order = verification()
    made = 0
    while (look := order.ask()) and look.key == "a":
        made += look.launches
        order.tell(look, opened(20))
    assert made == 40
