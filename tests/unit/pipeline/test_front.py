"""What nothing beats, and the knee of it."""

from dataclasses import replace

import pytest
from made_trials import make_trial

from distillfarm.controller.front import front, knee
from distillfarm.domain.measurement import Energy
from distillfarm.domain.study import Metric, Trial


def test_the_front_holds_what_nothing_beats() -> None:
    small = make_trial("int8_static", p90_ms=2.0, size=10)
    fast = make_trial("fp16", p90_ms=1.0, size=99)
    beaten = make_trial("prune(ratio=0.5)", p90_ms=3.0, size=99)
    unmeasured = replace(make_trial("distill(width=0.5)"), score=None)
    assert front([small, fast, beaten, unmeasured]) == {small.trial_id, fast.trial_id}


def test_the_front_is_in_the_objective_that_was_asked_for() -> None:
    thrifty = make_trial("int8_static", p90_ms=2.0, energy=Energy("rails", gross_mj=1.0))
    fast = make_trial("fp16", p90_ms=1.0, energy=Energy("rails", gross_mj=2.0))
    unmetered = make_trial("prune(ratio=0.5)", p90_ms=0.5)
    every = [thrifty, fast, unmetered]
    assert front(every, Metric.ENERGY) == {thrifty.trial_id}
    assert front(every) == {unmetered.trial_id}


def made(recipe: str, p90_ms: float, drop: float) -> Trial:
    return make_trial(recipe, p90_ms=p90_ms, drop=drop)


def test_every_step_from_the_knee_gives_up_more_than_it_gains() -> None:
    ends = made("fp16", 16.0, 0.0), made("prune(ratio=0.9)", 1.0, 8.0)
    bent = made("int8_static", 2.0, 1.0)
    flat = made("int8_dynamic", 1.5, 5.0)
    assert knee([*ends, bent, flat]) == bent.trial_id


@pytest.mark.parametrize("count", [0, 1])
def test_a_front_without_a_bend_has_its_only_trial_or_none(count: int) -> None:
    trials = [made("fp16", 1.0, 1.0)][:count]
    assert knee(trials) == (trials[0].trial_id if trials else "")
