"""Promises judged launch by launch, with what would settle them."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_trials import exported_of, make_trial, score_of

from distillfarm.controller.evidence import Evidence
from distillfarm.controller.verdict import judge, judge_phones, unjudged
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.domain.measurement import Energy
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import BoundVerdict, Sla, Verdict
from distillfarm.statistics.intervals import over_launches
from distillfarm.statistics.summary import LaunchValues

TEN_MS = parse_sla("warm_p90<=10ms")


def launched(p90_ms: Sequence[float]) -> Evidence:
    """A trial whose launches had these p90, and everything else of it as well."""
    values = tuple(p90_ms)
    megabytes = tuple(value * 1e6 for value in values)
    score = replace(score_of(make_trial()), warm_p90_ms=over_launches(values))
    same = values, values, values, values, values, values
    return Evidence(score, LaunchValues(*same, megabytes))


def judged(p90_ms: Sequence[float]) -> BoundVerdict:
    (bound,) = judge(TEN_MS, launched(p90_ms)).bounds
    return bound


def test_nine_launches_within_are_a_pass_and_eight_are_not() -> None:
    assert judged([9.0] * 9).verdict is Verdict.PASS
    assert judged([9.0] * 8).verdict is Verdict.INCONCLUSIVE


def test_a_pass_names_its_launches_and_its_error_rate() -> None:
    reason = judged([9.0] * 9).reason
    assert reason == (
        "9 ms against warm_p90<=10ms: within, in 9 of 9 launches (wrong at most once in 100)"
    )


def test_one_slow_launch_in_ten_fails_nothing() -> None:
    assert judged([9.0] * 18 + [16.0] * 2).verdict is Verdict.PASS


def test_a_fail_names_its_launches_and_its_error_rate() -> None:
    bound = judged([11.0] * 19 + [9.9])
    assert bound.verdict is Verdict.FAIL
    assert bound.reason.endswith("beyond, in 19 of 20 launches (wrong at most once in 50)")


def test_what_cannot_be_told_yet_says_how_many_launches_would_tell() -> None:
    bound = judged([9.0] * 5 + [11.0] * 2)
    assert bound.verdict is Verdict.INCONCLUSIVE
    assert bound.more_launches > 0
    assert bound.reason.endswith(
        f"within in 5 of 7 launches; about {bound.more_launches} more would settle it"
    )


def test_so_many_more_launches_do_settle_it() -> None:
    few = [9.0] * 5 + [11.0] * 2
    more = judged(few).more_launches
    within = math.ceil(more * 5 / 7)
    likewise = [9.0] * within + [11.0] * (more - within)
    assert judged(few + likewise).verdict is Verdict.PASS


def test_a_median_at_the_limit_is_said_to_be_hopeless() -> None:
    bound = judged([9.0, 11.0] * 4)
    assert (bound.verdict, bound.more_launches) == (Verdict.INCONCLUSIVE, 0)
    assert "more would hardly settle it" in bound.reason


def test_looking_after_every_launch_keeps_the_rate_of_false_passes() -> None:
    generator = np.random.default_rng(6)
    false_passes = 0
    for _ in range(200):
        launches = generator.lognormal(np.log(10.05), 0.05, 40).tolist()
        looks = (judged(launches[:count]).verdict for count in range(5, 41))
        false_passes += Verdict.PASS in looks
    assert false_passes <= 6  # 1 % of 200, and the chance that more happen is 0.5 %


@pytest.mark.parametrize("metric", ["cold", "warm_p50", "warm_p90", "warm_p99"])
def test_every_quantity_of_launches_is_judged_by_its_launches(metric: str) -> None:
    (bound,) = judge(parse_sla(f"{metric}<=10ms"), launched([9.0] * 9)).bounds
    assert "9 of 9 launches" in bound.reason


def test_memory_is_judged_by_its_launches_in_bytes() -> None:
    (bound,) = judge(parse_sla("peak_memory<=8MB"), launched([9.0] * 9)).bounds
    assert bound.verdict is Verdict.FAIL
    assert "9 of 9 launches" in bound.reason


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(9.0, 8.0, 9.8), Verdict.PASS),
        (Interval(9.0, 8.0, 9.9), Verdict.INCONCLUSIVE),  # 99 % one-sided is wider than 97.5 %
        (Interval(11.0, 10.1, 12.0), Verdict.FAIL),
        (Interval(1.0, 0.0, UNBOUNDED), Verdict.INCONCLUSIVE),
    ],
)
def test_without_launches_the_interval_is_judged(interval: Interval, verdict: Verdict) -> None:
    score = replace(score_of(make_trial()), warm_p90_ms=interval)
    assert judge(TEN_MS, Evidence(score)).verdict is verdict


def test_accuracy_is_judged_by_the_drop_on_the_test_split() -> None:
    trial = make_trial(drop=3.0, search_drop=0.5)
    verdict = judge(parse_sla("accuracy_drop<=2pt"), Evidence(score_of(trial)))
    assert verdict.verdict is Verdict.FAIL
    assert verdict.bounds[0].observed == exported_of(trial).test_drop


def test_accuracy_that_cannot_be_told_asks_for_samples_and_not_for_launches() -> None:
    evidence = Evidence(score_of(make_trial(drop=1.9)), launched([1.0] * 20).values)
    (bound,) = judge(parse_sla("accuracy_drop<=2pt"), evidence).bounds
    assert (bound.verdict, bound.more_launches) == (Verdict.INCONCLUSIVE, 0)
    assert "more test samples would settle it" in bound.reason


def test_what_was_not_measured_is_inconclusive_with_the_reason() -> None:
    verdict = judge(parse_sla("energy<=1mJ"), Evidence(score_of(make_trial())))
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.bounds[0].observed is None
    assert verdict.bounds[0].reason == "not measured: no meter"


def test_energy_counts_with_the_resolution_of_its_meter() -> None:
    energy = Energy("RAPL", gross_mj=0.95, resolution_mj=0.1)
    evidence = Evidence(score_of(make_trial(energy=energy)))
    assert judge(parse_sla("energy<=1mJ"), evidence).verdict is Verdict.INCONCLUSIVE
    assert judge(parse_sla("energy<=2mJ"), evidence).verdict is Verdict.PASS


def test_size_is_exact() -> None:
    evidence = Evidence(score_of(make_trial(size=1_000_000)))
    assert judge(parse_sla("size<=1MB"), evidence).verdict is Verdict.PASS
    assert judge(parse_sla("size<=0.99MB"), evidence).verdict is Verdict.FAIL


def test_one_failed_bound_fails_the_whole_and_keeps_every_reason() -> None:
    sla = parse_sla("warm_p90<=0.5ms, energy<=1mJ, size<=1MB")
    verdict = judge(sla, launched([1.0] * 9))
    assert verdict.verdict is Verdict.FAIL
    assert [each.verdict for each in verdict.bounds] == [
        Verdict.FAIL,
        Verdict.INCONCLUSIVE,
        Verdict.PASS,
    ]


def test_no_promise_is_kept_and_nothing_measured_is_inconclusive() -> None:
    assert judge(Sla(()), launched([1.0])).verdict is Verdict.PASS
    assert unjudged(Sla(()), "no device").verdict is Verdict.INCONCLUSIVE
    assert unjudged(parse_sla("size<=1MB"), "no device").bounds[0].reason == "no device"


def test_a_variant_passes_only_where_every_phone_passes() -> None:
    verdict, phones = judge_phones(
        TEN_MS, {"left": launched([9.0] * 9), "right": launched([9.5] * 12)}
    )
    assert verdict.verdict is Verdict.PASS
    assert [(each.device_id, each.launches) for each in phones] == [("left", 9), ("right", 12)]
    assert verdict.bounds[0].reason.startswith("on all 2 phones; right: 9.5 ms")


def test_one_phone_that_fails_fails_the_variant_and_is_named() -> None:
    verdict, phones = judge_phones(
        TEN_MS, {"left": launched([9.0] * 9), "right": launched([11.0] * 12)}
    )
    assert verdict.verdict is Verdict.FAIL
    assert [each.verdict.verdict for each in phones] == [Verdict.PASS, Verdict.FAIL]
    assert verdict.bounds[0].reason.startswith("right: 11 ms")
    assert verdict.bounds[0].more_launches == 0


def test_a_phone_that_cannot_tell_leaves_the_variant_open_with_its_launches_to_go() -> None:
    verdict, phones = judge_phones(
        TEN_MS, {"left": launched([9.0] * 9), "right": launched([9.0] * 5)}
    )
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.bounds[0].more_launches == phones[1].verdict.bounds[0].more_launches > 0


def test_the_rate_of_false_fails_is_shared_among_the_phones() -> None:
    eight = launched([11.0] * 8)
    assert judge_phones(TEN_MS, {"left": eight})[0].verdict is Verdict.FAIL
    both = judge_phones(TEN_MS, {"left": eight, "right": launched([9.0] * 9)})[0]
    assert both.verdict is Verdict.INCONCLUSIVE


def test_no_phone_is_no_verdict() -> None:
    verdict, phones = judge_phones(TEN_MS, {})
    assert (verdict.verdict, phones) == (Verdict.INCONCLUSIVE, ())
