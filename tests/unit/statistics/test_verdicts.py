"""Verdicts keep their error rates however often one looks, and say what would settle them."""

import math

import numpy as np
import pytest

from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Verdict
from distillfarm.statistics.verdicts import (
    judge_counts,
    judge_interval,
    judge_launches,
    log_evidence,
)


def test_evidence_of_launches_that_agree_is_a_fraction_one_can_check() -> None:
    # 2 * 2^n * integral of p^n over [1/2, 1] = (2^(n+1) - 1) / (n + 1).
    for launches in (0, 1, 8, 9, 40):
        exact = (2 ** (launches + 1) - 1) / (launches + 1)
        assert log_evidence(launches, 0) == pytest.approx(math.log(exact))


def test_evidence_is_a_fair_game_against_a_fair_coin() -> None:
    # The stake after the next toss is on average what it is now: a martingale, as Ville needs.
    for heads, tails in ((0, 0), (3, 1), (2, 6), (30, 20)):
        now = math.exp(log_evidence(heads, tails))
        won = math.exp(log_evidence(heads + 1, tails))
        lost = math.exp(log_evidence(heads, tails + 1))
        assert (won + lost) / 2 == pytest.approx(now)


def test_nine_launches_within_pass_and_eight_beyond_fail() -> None:
    assert judge_launches([1.0] * 8, 2.0).verdict is Verdict.INCONCLUSIVE
    assert judge_launches([1.0] * 9, 2.0).verdict is Verdict.PASS
    assert judge_launches([3.0] * 7, 2.0).verdict is Verdict.INCONCLUSIVE
    assert judge_launches([3.0] * 8, 2.0).verdict is Verdict.FAIL


def test_a_launch_at_the_limit_is_within_it() -> None:
    assert judge_launches([2.0] * 9, 2.0).verdict is Verdict.PASS


def test_one_slow_launch_in_twelve_does_not_fail_a_bound() -> None:
    assert judge_launches([*([1.0] * 11), 50.0], 2.0).verdict is Verdict.INCONCLUSIVE
    assert judge_launches([*([1.0] * 14), 50.0], 2.0).verdict is Verdict.PASS


def test_it_says_how_many_more_launches_would_settle_it() -> None:
    for values in ([1.0] * 5, [3.0] * 4, [1.0] * 9 + [3.0] * 3, [3.0] * 12 + [1.0] * 5):
        judged = judge_launches(values, 2.0)
        assert judged.verdict is Verdict.INCONCLUSIVE
        again = list(values) * (1 + math.ceil((judged.more_launches + 1) / len(values)))
        assert judge_launches(again, 2.0).verdict is not Verdict.INCONCLUSIVE
    assert judge_launches([1.0] * 5, 2.0).more_launches == 4


def test_launches_that_lean_nowhere_promise_nothing() -> None:
    assert judge_launches([1.0, 3.0] * 5, 2.0).more_launches == 0
    assert judge_launches([], 2.0).more_launches == 0


def test_looking_after_every_launch_keeps_false_passes_rare() -> None:
    # The median lies a hair beyond the limit: half of the launches are within. Four hundred looks.
    generator = np.random.default_rng(5)
    within = np.cumsum(generator.random((3000, 400)) < 0.5, axis=1)
    bounds = [
        next((inside for inside in range(made + 1) if passes(inside, made)), made + 1)
        for made in range(1, 401)
    ]
    false_passes = np.mean(np.any(within >= np.array(bounds), axis=1))
    assert 0 < false_passes <= 0.01


def passes(within: int, made: int) -> bool:
    return judge_counts(within, made - within) is Verdict.PASS


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (7.60, Verdict.PASS),
        (7.70, Verdict.INCONCLUSIVE),
        (12.00, Verdict.INCONCLUSIVE),
        (12.15, Verdict.FAIL),
    ],
)
def test_an_interval_is_stretched_to_the_errors_that_are_allowed(
    value: float, verdict: Verdict
) -> None:
    # One standard error is 1; z(0.99) = 2.326 above the value, z(0.98) = 2.054 below it.
    interval = Interval(value, value - 1.96, value + 1.96)
    assert judge_interval(interval, 10.0) is verdict


def test_an_exact_quantity_is_judged_at_its_value() -> None:
    assert judge_interval(Interval(10.0, 10.0, 10.0), 10.0) is Verdict.PASS
    assert judge_interval(Interval(10.1, 10.1, 10.1), 10.0) is Verdict.FAIL
