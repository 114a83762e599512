"""What one number hides is found: the class, the group or the shift that pays for it."""

from collections.abc import Mapping

import numpy as np
import pytest

from distillfarm.compression.datasets import Array, Samples
from distillfarm.compression.evaluation import Accuracy, Metric, UserMetric
from distillfarm.compression.quality_detail import (
    MAX_PARTS,
    SHIFT_SAMPLES,
    Compared,
    looked_into,
)
from distillfarm.compression.shifts import shifts_for
from distillfarm.domain.model import Signature, TensorSpec
from distillfarm.domain.variant import QualityDetail, QualitySlice, SliceKind

CLASSES = 3
OUTPUT = (TensorSpec("y", "float32", (-1, CLASSES)),)
VECTORS = Signature((TensorSpec("x", "float32", (-1, CLASSES)),), OUTPUT)


def ask(samples: Samples) -> Compared:
    """The source reads the class off its input; the variant does not know class 2."""
    before = samples.inputs["x"]
    after = before.copy()
    after[:, 2] = -1e9
    return Compared(samples, {"y": before}, {"y": after})


def samples(labels: Array, groups: Array | None = None) -> Samples:
    inputs = np.eye(CLASSES, dtype=np.float32)[labels.astype(int) % CLASSES]
    return Samples({"x": inputs}, labels, None if groups is None else groups.astype(np.str_))


def detail(of: Samples, metric: Metric | None = None) -> QualityDetail:
    return looked_into(metric or Accuracy(), ask(of), VECTORS, ask, 0)


def of_kind(found: QualityDetail, kind: SliceKind) -> Mapping[str, QualitySlice]:
    return {each.name: each for each in found.slices if each.kind is kind}


def test_the_class_and_the_group_that_pay_are_named() -> None:
    labels = np.arange(300) % 3
    found = detail(samples(labels, np.where(labels == 2, "night", "day")))
    classes = of_kind(found, SliceKind.CLASS)
    assert [each.drop.value for each in classes.values()] == [0.0, 0.0, 100.0]
    groups = of_kind(found, SliceKind.GROUP)
    assert {name: each.after.value for name, each in groups.items()} == {"day": 1.0, "night": 0.0}
    assert groups["night"].before.samples == groups["night"].after.samples == 100
    assert found.agreement is not None
    assert found.agreement.value == pytest.approx(2 / 3)
    assert 0.6 < found.agreement.low < found.agreement.high < 0.73


def test_what_so_few_samples_cannot_tell_is_half_the_interval() -> None:
    few, many = (detail(samples(np.zeros(count, int))) for count in (60, 6000))
    assert few.resolution_points == pytest.approx(4.47, abs=0.01)  # 1.96 * sqrt(2 / 62 / 62)
    assert many.resolution_points < 0.1


def test_parts_too_small_to_tell_are_left_out_and_named() -> None:
    labels = np.array([0] * 50 + [1] * 9)
    found = detail(samples(labels))
    assert list(of_kind(found, SliceKind.CLASS)) == ["0"]
    assert any(
        "1 classes of fewer than 10" in each and each.endswith(": 1") for each in found.notes
    )


def test_of_too_many_groups_those_that_lost_most_are_kept() -> None:
    numbers = np.arange(10 * (MAX_PARTS + 20))
    found = detail(samples(np.where(numbers < 10, 2, 0), numbers // 10))
    groups = of_kind(found, SliceKind.GROUP)
    assert len(groups) == MAX_PARTS
    assert next(iter(groups)) == "0"
    assert any(f"of {MAX_PARTS + 20} groups" in each for each in found.notes)


def test_a_users_metric_that_is_not_defined_on_a_group_leaves_it_out() -> None:
    def judge(outputs: object, labels: Array) -> float:
        if len(np.unique(labels)) < CLASSES - 1:
            raise ValueError("one class alone")
        return float((np.asarray(outputs).argmax(axis=1) == labels).mean())

    numbers = np.arange(90)
    labels = np.where(numbers < 45, 0, numbers % 3)
    metric = UserMetric("judge", judge)
    found = detail(samples(labels, np.where(numbers < 45, "a", "b")), metric)
    assert not of_kind(found, SliceKind.CLASS)
    assert list(of_kind(found, SliceKind.GROUP)) == ["b"]
    assert any("could not be judged alone: a" in each for each in found.notes)


def test_the_source_itself_is_certain_to_lose_nothing() -> None:
    of = samples(np.arange(60) % 3)
    same = Compared(of, {"y": of.inputs["x"]}, {"y": of.inputs["x"]}, same=True)
    found = looked_into(
        Accuracy(), same, VECTORS, lambda each: Compared(each, *same_answers(each)), 0
    )
    assert found.resolution_points == 0.0


def same_answers(of: Samples) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    return {"y": of.inputs["x"]}, {"y": of.inputs["x"]}


def test_shifts_are_tried_on_a_bounded_sample_of_all_classes() -> None:
    labels = np.sort(np.arange(3 * SHIFT_SAMPLES) % 3)
    seen: list[Samples] = []

    def watched(of: Samples) -> Compared:
        seen.append(of)
        return ask(of)

    test = samples(labels)
    found = looked_into(Accuracy(), ask(test), VECTORS, watched, 0)
    (shift,) = of_kind(found, SliceKind.SHIFT).values()
    assert shift.name == "noise of 10% of each feature's spread"
    assert shift.after.samples == len(seen[0]) == SHIFT_SAMPLES
    assert np.bincount(seen[0].labels.astype(int)).min() > SHIFT_SAMPLES / 4
    assert any(f"{SHIFT_SAMPLES} of {3 * SHIFT_SAMPLES}" in each for each in found.notes)


def shifted(inputs: Mapping[str, Array], *specs: TensorSpec) -> dict[str, Mapping[str, Array]]:
    return {each.name: each(inputs, 3) for each in shifts_for(Signature(specs, OUTPUT))}


def test_images_get_noisy_brighter_and_darker_within_their_range() -> None:
    for dtype, top in (("float32", 1.0), ("uint8", 255.0)):
        images = (np.linspace(0, 1, 2 * 8 * 8).reshape(2, 1, 8, 8) * top).astype(dtype)
        found = shifted({"i": images}, TensorSpec("i", dtype, (-1, 1, 8, 8)))
        assert len(found) == 3
        for name, changed in found.items():
            moved = changed["i"].astype(float) - images
            assert changed["i"].dtype == images.dtype
            assert changed["i"].min() >= 0
            assert changed["i"].max() <= top
            if name.startswith("noise"):
                assert np.abs(moved).mean() == pytest.approx(0.06 * top, rel=0.3)
            else:
                way = 1 if name.startswith("brighter") else -1
                assert np.median(moved) == pytest.approx(way * 0.2 * top, abs=0.01 * top)


def test_a_mask_goes_with_the_tokens_that_it_masks() -> None:
    tokens = np.arange(1, 2001).reshape(100, 20)
    specs = (TensorSpec("ids", "int64", (-1, 20)), TensorSpec("mask", "int32", (-1, 20)))
    inputs: dict[str, Array] = {"ids": tokens, "mask": np.ones((100, 20), np.int32)}
    ((name, changed),) = shifted(inputs, *specs).items()
    assert name == "10% of tokens zero"
    assert ((changed["ids"] == 0) == (changed["mask"] == 0)).all()
    assert (changed["ids"] == 0).mean() == pytest.approx(0.095, abs=0.02)
    assert (changed["ids"][:, 0] != 0).all()


def test_whole_time_steps_are_lost() -> None:
    steps = np.ones((100, 10, 4), np.float32)
    found = shifted({"s": steps}, TensorSpec("s", "float32", (-1, 10, 4)))
    changed = found["10% of time steps zero"]["s"]
    assert (changed == changed[:, :, :1]).all()
    assert (changed[:, :, 0] == 0).mean() == pytest.approx(0.1, abs=0.03)
