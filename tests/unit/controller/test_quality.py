"""What is said of a variant's quality names who pays and what the data cannot tell."""

from dataclasses import replace

from made_trials import around, exported_of, looked_into, make_trial

from distillfarm.controller.quality import facts
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.variant import AGREEMENT, Exported, QualitySlice

SLA = parse_sla("accuracy_drop<=2pt")


def exported(resolution_points: float = 2.3) -> Exported:
    return looked_into(exported_of(make_trial()), resolution_points)


def test_the_worst_of_each_kind_is_named_with_its_interval_and_samples() -> None:
    agreement, worst_class, group, shift, _ = facts(exported(), SLA)
    assert agreement == "answers like the source model on 97.8 [96.2, 98.8] % of 1000 test samples"
    assert worst_class == (
        "worst of 2 classes: 7, 12.0 [10.0, 14.0] points lost (0.900 to 0.780, 60 samples)"
    )
    assert group == "none of 1 group lost any"
    assert shift.startswith("worst of 1 shift: noise, 4.00 [2.00, 6.00] points lost")


def test_what_the_samples_cannot_tell_is_said_where_the_sla_asks_for_it() -> None:
    assert facts(exported(), SLA)[-1] == (
        "these 1000 test samples cannot tell a drop below 2.30 points, and accuracy_drop<=2pt asks"
        " for less; about 1,400 would do"
    )
    silent = (facts(exported(1.9), SLA), facts(exported(), parse_sla("warm_p90<=1ms")))
    assert not any("cannot tell" in each for found in silent for each in found)


def test_quality_without_labels_is_called_agreement() -> None:
    of = exported()
    bare = replace(of, test_quality=replace(of.test_quality, metric=AGREEMENT))
    told = facts(bare, SLA)
    assert told[0] == "the data have no labels: quality is agreement with the source model"
    assert not any(each.startswith("answers like") for each in told)


def test_a_file_that_nobody_ran_is_called_unverified() -> None:
    unrun = replace(exported(), detail=None, unverified="runs on Apple's systems alone")
    assert facts(unrun, SLA) == ("unverified: runs on Apple's systems alone",)


def test_of_equal_losses_none_is_hidden_by_the_order() -> None:
    of = exported()
    assert of.detail is not None
    gained = tuple(lost(each, -3.0) for each in of.detail.slices)
    told = facts(replace(of, detail=replace(of.detail, slices=gained)), SLA)
    assert [each for each in told if each.startswith("none of")] == [
        "none of 2 classes lost any",
        "none of 1 group lost any",
        "none of 1 shift lost any",
    ]


def lost(part: QualitySlice, points: float) -> QualitySlice:
    return replace(part, drop=around(points, 1.0))
