"""What one number hides: agreement, what the samples can tell, and losses part by part."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distillfarm.compression.datasets import Samples, is_classes
from distillfarm.compression.evaluation import Accuracy, Metric, Outputs, class_scores, wilson
from distillfarm.compression.shifts import shifts_for
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.interval import Interval
from distillfarm.domain.model import Signature
from distillfarm.domain.variant import QualityDetail, QualitySlice, SliceKind

FEWEST_SAMPLES = 10
"""A smaller part than that tells nothing."""
MAX_PARTS = 100
SHIFT_SAMPLES = 1000


@dataclass(frozen=True)
class Compared:
    """The source model's answers and a variant's on the same samples.

    ``same`` marks the source model itself, which loses nothing and is certain of it.
    """

    samples: Samples
    before: Outputs
    after: Outputs
    same: bool = False

    def take(self, rows: NDArray[np.intp]) -> "Compared":
        """The part of these rows."""
        return Compared(
            self.samples.take(rows),
            {name: array[rows] for name, array in self.before.items()},
            {name: array[rows] for name, array in self.after.items()},
            self.same,
        )

    def drop(self, metric: Metric) -> Interval:
        """Points lost."""
        drop = metric.drop(self.before, self.after, self.samples.labels)
        return Interval(0.0, 0.0, 0.0) if self.same and drop.value == 0.0 else drop


Ask = Callable[[Samples], Compared]
"""Asks both models."""


def looked_into(
    metric: Metric, test: Compared, signature: Signature, ask: Ask, seed: int
) -> QualityDetail:
    """All of it on the test split.

    Classes only where accuracy is the metric: a user's function need not be defined on one class.
    Parts of fewer than ``FEWEST_SAMPLES`` are left out, and all but the ``MAX_PARTS`` that lost
    most. Shifts are tried on ``SHIFT_SAMPLES`` at most, drawn by ``seed``. Notes say so.
    """
    notes: list[str] = []
    if not test.samples.held_out:
        notes.append(
            "nobody said which samples the source model was trained on: where it knows the test"
            " samples, its lead is overstated (mark the others in `held_out`)"
        )
    slices: list[QualitySlice] = []
    labels, groups = test.samples.labels, test.samples.groups
    if isinstance(metric, Accuracy) and is_classes(labels):
        names = labels.astype(np.str_)
        slices += _parts(SliceKind.CLASS, "classes", names, metric, test, notes)
    if groups is not None:
        slices += _parts(SliceKind.GROUP, "groups", groups, metric, test, notes)
    slices += _shifted(metric, test.samples, signature, ask, seed, notes)
    drop = test.drop(metric)
    resolution = (drop.high - drop.low) / 2
    return QualityDetail(_agreement(test), resolution, tuple(slices), tuple(notes))


def _agreement(test: Compared) -> Interval | None:
    before, after = class_scores(test.before), class_scores(test.after)
    if before is None or after is None or not is_classes(test.samples.labels):
        return None
    alike = (before.argmax(axis=1) == after.argmax(axis=1)) & np.isfinite(after).all(axis=1)
    return Interval(float(alike.mean()), *wilson(int(alike.sum()), len(alike)))


def _parts(  # noqa: PLR0917
    kind: SliceKind,
    plural: str,
    names: NDArray[np.str_],
    metric: Metric,
    test: Compared,
    notes: list[str],
) -> Sequence[QualitySlice]:
    found: list[QualitySlice] = []
    few: list[str] = []
    unjudged: list[str] = []
    for name in sorted(map(str, np.unique(names)), key=lambda each: (len(each), each)):
        rows = np.flatnonzero(names == name)
        if len(rows) < FEWEST_SAMPLES:
            few.append(name)
            continue
        try:
            found.append(_slice(kind, name, metric, test.take(rows)))
        except InvalidRequest as error:  # a user's metric may need all kinds of samples
            unjudged.append(f"{name} ({error})")
    if few:
        notes.append(
            f"{len(few)} {plural} of fewer than {FEWEST_SAMPLES} test samples are not looked at"
            f" apart: {_listed(few)}"
        )
    if unjudged:
        notes.append(f"{len(unjudged)} {plural} could not be judged alone: {_listed(unjudged)}")
    if len(found) > MAX_PARTS:
        notes.append(f"of {len(found)} {plural} the {MAX_PARTS} that lost most are shown")
        found.sort(key=lambda each: -each.drop.value)
    return found[:MAX_PARTS]


def _shifted(  # noqa: PLR0917
    metric: Metric,
    samples: Samples,
    signature: Signature,
    ask: Ask,
    seed: int,
    notes: list[str],
) -> Iterator[QualitySlice]:
    shifts = shifts_for(signature)
    if not shifts:
        notes.append("no shifted inputs: they are neither images, token ids, sequences nor vectors")
        return
    few = samples
    if len(samples) > SHIFT_SAMPLES:
        drawn = np.random.default_rng(seed).permutation(len(samples))[:SHIFT_SAMPLES]
        few = samples.take(np.sort(drawn))
        notes.append(f"shifted inputs: {SHIFT_SAMPLES} of {len(samples)} test samples")
    for shift in shifts:
        compared = ask(replace(few, inputs=shift(few.inputs, seed)))
        yield _slice(SliceKind.SHIFT, shift.name, metric, compared)


def _slice(kind: SliceKind, name: str, metric: Metric, part: Compared) -> QualitySlice:
    labels = part.samples.labels
    before, after = metric.quality(part.before, labels), metric.quality(part.after, labels)
    return QualitySlice(kind, name, before, after, part.drop(metric))


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
