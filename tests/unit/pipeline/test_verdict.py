"""Promises judged by intervals."""

from dataclasses import replace

import pytest
from made_trials import exported_of, make_trial, score_of

from distillfarm.controller.verdict import judge, unjudged
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.domain.measurement import Energy
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Sla, Verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(9.0, 8.0, 10.0), Verdict.PASS),
        (Interval(9.0, 8.0, 10.1), Verdict.INCONCLUSIVE),
        (Interval(10.5, 9.9, 11.0), Verdict.INCONCLUSIVE),
        (Interval(10.5, 10.0, 11.0), Verdict.INCONCLUSIVE),
        (Interval(11.0, 10.1, 12.0), Verdict.FAIL),
        (Interval(1.0, 0.0, UNBOUNDED), Verdict.INCONCLUSIVE),
    ],
)
def test_bound_is_judged_by_the_whole_interval(interval: Interval, verdict: Verdict) -> None:
    score = replace(score_of(make_trial()), warm_p90_ms=interval)
    assert judge(parse_sla("warm_p90<=10ms"), score).verdict is verdict


def test_accuracy_is_judged_by_the_drop_on_the_test_split() -> None:
    trial = make_trial(drop=3.0, search_drop=0.5)
    verdict = judge(parse_sla("accuracy_drop<=2pt"), score_of(trial))
    assert verdict.verdict is Verdict.FAIL
    assert verdict.bounds[0].observed == exported_of(trial).test_drop


def test_what_was_not_measured_is_inconclusive_with_the_reason() -> None:
    verdict = judge(parse_sla("energy<=1mJ"), score_of(make_trial()))
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.bounds[0].observed is None
    assert verdict.bounds[0].reason == "not measured: no meter"


def test_energy_counts_with_the_resolution_of_its_meter() -> None:
    energy = Energy("RAPL", gross_mj=0.95, resolution_mj=0.1)
    score = score_of(make_trial(energy=energy))
    assert judge(parse_sla("energy<=1mJ"), score).verdict is Verdict.INCONCLUSIVE
    assert judge(parse_sla("energy<=2mJ"), score).verdict is Verdict.PASS


def test_one_failed_bound_fails_the_whole_and_keeps_every_reason() -> None:
    sla = parse_sla("warm_p90<=0.5ms, energy<=1mJ, size<=1MB")
    verdict = judge(sla, score_of(make_trial(p90_ms=1.0)))
    assert verdict.verdict is Verdict.FAIL
    assert [each.verdict for each in verdict.bounds] == [
        Verdict.FAIL,
        Verdict.INCONCLUSIVE,
        Verdict.PASS,
    ]
    assert "against warm_p90<=0.5ms: beyond" in verdict.bounds[0].reason


def test_no_promise_is_kept_and_nothing_measured_is_inconclusive() -> None:
    assert judge(Sla(()), score_of(make_trial())).verdict is Verdict.PASS
    assert unjudged(Sla(()), "no device").verdict is Verdict.INCONCLUSIVE
    assert unjudged(parse_sla("size<=1MB"), "no device").bounds[0].reason == "no device"
