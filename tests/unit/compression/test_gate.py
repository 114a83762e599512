"""The gate names what a pass did: its work, nothing, or too much harm."""

from dataclasses import replace

import pytest

from distillfarm.compression.gate import Change, GateLimits, judge, refuse
from distillfarm.compression.protocols import PassRefused, Promise
from distillfarm.domain.interval import Interval
from distillfarm.domain.recipe import pass_spec
from distillfarm.domain.variant import PassOutcome, Quality


def quality(value: float) -> Quality:
    return Quality("accuracy", value, value - 0.01, value + 0.01, 3000)


GOOD = Change(
    size_before_bytes=400_000,
    size_after_bytes=110_000,
    packed_before_bytes=380_000,
    packed_after_bytes=100_000,
    parameters_before=100_000,
    parameters_after=100_000,
    before=("Conv 3", "float 7"),
    after=("Conv 3", "DequantizeLinear 9", "float 2", "int8 5"),
    quality=quality(0.89),
    reference=quality(0.90),
    drop=Interval(1.0, 0.5, 1.5),
    baseline=0.1,
)
LIMITS = GateLimits()


def test_a_pass_that_did_its_work_is_let_through_without_a_word() -> None:
    judgement = judge(GOOD, promise=Promise.SMALLER_FILE, limits=LIMITS)
    assert (judgement.outcome, judgement.reason) == (PassOutcome.APPLIED, "")


def test_a_quantiser_that_quantised_nothing_is_unchanged() -> None:
    judgement = judge(replace(GOOD, after=GOOD.before), promise=Promise.SMALLER_FILE, limits=LIMITS)
    assert judgement.outcome is PassOutcome.UNCHANGED
    assert "same operators" in judgement.reason


@pytest.mark.parametrize("after_bytes", [400_000, 420_000, 399_000])
def test_a_file_that_did_not_shrink_is_unchanged(after_bytes: int) -> None:
    judgement = judge(
        replace(GOOD, size_after_bytes=after_bytes), promise=Promise.SMALLER_FILE, limits=LIMITS
    )
    assert judgement.outcome is PassOutcome.UNCHANGED
    assert f"{after_bytes:,}" in judgement.reason


def test_training_that_left_no_fewer_parameters_is_unchanged() -> None:
    assert (
        judge(GOOD, promise=Promise.FEWER_PARAMETERS, limits=LIMITS).outcome
        is PassOutcome.UNCHANGED
    )
    smaller = replace(GOOD, parameters_after=24_000, after=GOOD.before)
    assert (
        judge(smaller, promise=Promise.FEWER_PARAMETERS, limits=LIMITS).outcome
        is PassOutcome.APPLIED
    )


def test_a_large_loss_of_quality_is_destruction() -> None:
    broken = replace(GOOD, quality=quality(0.44), drop=Interval(46.0, 44.0, 48.0))
    judgement = judge(broken, promise=Promise.SMALLER_FILE, limits=LIMITS)
    assert judgement.outcome is PassOutcome.DESTROYED
    assert "46.0 points" in judgement.reason


def test_no_better_than_the_most_frequent_class_is_destruction_however_small_the_loss() -> None:
    weak = replace(
        GOOD,
        reference=quality(0.95),
        quality=quality(0.90),
        drop=Interval(5.0, 4.0, 6.0),
        baseline=0.91,
    )
    judgement = judge(weak, promise=Promise.SMALLER_FILE, limits=LIMITS)
    assert judgement.outcome is PassOutcome.DESTROYED
    assert "most frequent" in judgement.reason


def test_the_limit_can_be_set() -> None:
    dropped = replace(GOOD, drop=Interval(12.0, 10.0, 14.0))
    assert judge(dropped, Promise.SMALLER_FILE, LIMITS).outcome is PassOutcome.DESTROYED
    assert (
        judge(dropped, Promise.SMALLER_FILE, GateLimits(max_drop_points=20)).outcome
        is PassOutcome.APPLIED
    )


def test_an_evaluators_larger_numbers_are_judged_by_their_share() -> None:
    reference = Quality("negative_error", -1000.0, -1010.0, -990.0, 300)
    change = replace(
        GOOD,
        reference=reference,
        quality=replace(reference, value=-1050.0),
        drop=Interval(5000.0, 4000.0, 6000.0),
        baseline=None,
    )
    assert judge(change, promise=Promise.SMALLER_FILE, limits=LIMITS).outcome is PassOutcome.APPLIED
    worse = replace(change, drop=Interval(15_000.0, 14_000.0, 16_000.0))
    assert (
        judge(worse, promise=Promise.SMALLER_FILE, limits=LIMITS).outcome is PassOutcome.DESTROYED
    )


def test_too_few_samples_are_said_so() -> None:
    unsure = replace(GOOD, quality=replace(quality(0.85), samples=20), drop=Interval(5, -11, 21))
    judgement = judge(unsure, promise=Promise.SMALLER_FILE, limits=LIMITS)
    assert judgement.outcome is PassOutcome.APPLIED
    assert "cannot tell" in judgement.reason


def test_a_refusal_names_the_pass_and_the_outcome() -> None:
    spec = pass_spec("int8_static", samples=64)
    with pytest.raises(PassRefused, match=r"^int8_static\(samples=64\): unchanged: the file grew"):
        refuse(spec, judge(replace(GOOD, size_after_bytes=500_000), Promise.SMALLER_FILE, LIMITS))


def test_a_pass_that_promises_a_smaller_package_is_held_to_it() -> None:
    same_size = replace(GOOD, size_after_bytes=GOOD.size_before_bytes, after=GOOD.before)
    packed = Promise.SMALLER_PACKED
    assert judge(same_size, promise=packed, limits=LIMITS).outcome is PassOutcome.APPLIED
    judgement = judge(replace(same_size, packed_after_bytes=379_000), packed, LIMITS)
    assert judgement.outcome is PassOutcome.UNCHANGED
    assert judgement.reason == "the packed file shrank only from 380,000 to 379,000 B"


def test_a_pass_that_promises_no_size_is_judged_by_quality_alone() -> None:
    same = replace(GOOD, size_after_bytes=GOOD.size_before_bytes, after=GOOD.before)
    assert judge(same, Promise.SAME_SIZE, LIMITS).outcome is PassOutcome.APPLIED
    worse = replace(same, drop=Interval(40.0, 38.0, 42.0), quality=quality(0.5))
    assert judge(worse, Promise.SAME_SIZE, LIMITS).outcome is PassOutcome.DESTROYED
