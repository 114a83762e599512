"""A data set as passes and judges see it: split once and for all, each part for one purpose."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distillfarm.compression import data_files
from distillfarm.domain.model import Signature

Array = NDArray[np.generic]
Rows = NDArray[np.intp]

NO_LABEL = -100
"""Stands for a class that nobody gave: the index that PyTorch's cross-entropy leaves out."""
# What is left after these is for training. Calibration needs little: ranges, not averages.
_TEST, _SELECTION, _CALIBRATION = 0.2, 0.15, 0.05


@dataclass(frozen=True)
class Samples:
    """Inputs by name, each [n, ...] in the model's dtype, and what the answers should be.

    ``labels`` are int64 [n] class indices, or whatever else the user's evaluator takes; where there
    are none, ``NO_LABEL`` or, of floats, not a number. ``groups`` are names [n], if there are any;
    ``held_out`` says that the source model was trained on none of these.
    """

    inputs: Mapping[str, Array]
    labels: Array
    groups: NDArray[np.str_] | None = None
    held_out: bool = False

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether any sample has a label."""
        return bool((self.labels != NO_LABEL).any()) if is_classes(self.labels) else True

    def take(self, rows: Rows | slice) -> "Samples":
        """The samples of these rows."""
        return replace(
            self,
            inputs={name: array[rows] for name, array in self.inputs.items()},
            labels=self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def extended(self, unlabelled: Mapping[str, Array]) -> "Samples":
        """These, and after them more inputs without labels."""
        count = len(next(iter(unlabelled.values())))
        nothing = NO_LABEL if is_classes(self.labels) else np.nan
        more = np.full((count, *self.labels.shape[1:]), nothing, self.labels.dtype)
        inputs = {
            name: np.concatenate([array, unlabelled[name]]) for name, array in self.inputs.items()
        }
        return Samples(inputs, np.concatenate([self.labels, more]))


@dataclass(frozen=True)
class PassData:
    """What a pass may look at: to train on, to select by, to calibrate with. Never the test."""

    train: Samples
    selection: Samples
    calibration: Samples


def load_for_passes(path: Path, signature: Signature, seed: int) -> PassData:
    """Everything but the test split and the samples that never had labels.

    Raises:
        InvalidRequest: the file is unreadable or does not fit the model; one clear line.
    """
    return PassData(*_split(path, signature, seed)[:3])


def load_test(path: Path, signature: Signature, seed: int) -> Samples:
    """The test split, for verdicts and reports alone.

    Raises:
        InvalidRequest: as for ``load_for_passes``.
    """
    return _split(path, signature, seed)[3]


def with_unlabelled(train: Samples, path: Path, signature: Signature) -> Samples:
    """What a student may learn from: the training split, then the samples without labels.

    Raises:
        InvalidRequest: as for ``load_for_passes``.
    """
    unlabelled = data_files.read_unlabelled(path, signature)
    return train if unlabelled is None else train.extended(unlabelled)


def is_classes(labels: Array) -> bool:
    """Whether labels are class indices: int64 [n]."""
    return labels.ndim == 1 and labels.dtype == np.int64


def _split(path: Path, signature: Signature, seed: int) -> tuple[Samples, ...]:
    """Training, selection, calibration and test, each in the order of the file.

    Class indices are split class by class. Shares that are no whole samples are rounded up or
    down at random, so that rare classes are not pushed into one split.
    """
    content = data_files.read(path, signature)
    count = len(next(iter(content.inputs.values())))
    labels = np.full(count, NO_LABEL) if content.labels is None else content.labels
    generator = np.random.default_rng(seed)
    parts: list[list[Rows]] = [[], [], [], []]
    for stratum, shares in _strata(labels, content.held_out):
        shuffled = generator.permutation(stratum)
        edges = np.floor(np.cumsum(shares) * len(stratum) + generator.random()).astype(int)
        pieces = np.split(shuffled, np.minimum(edges, len(stratum)))
        for part, piece in zip(parts, pieces, strict=True):
            part.append(piece)
    test, selection, calibration, train = (np.sort(np.concatenate(part)) for part in parts)
    samples = Samples(content.inputs, labels, content.groups)
    unseen = replace(samples, held_out=content.held_out is not None)
    return (
        samples.take(train),
        unseen.take(selection),
        samples.take(calibration),
        unseen.take(test),
    )


def _strata(
    labels: Array, held_out: NDArray[np.bool_] | None
) -> list[tuple[Rows, tuple[float, float, float]]]:
    """Rows to be split alike, each with the shares of test, selection and calibration.

    With ``held_out`` test and selection come from those rows alone, at most all of them, and take
    as much of the whole as without it.
    """
    classes = [np.arange(len(labels))]
    if is_classes(labels):
        classes = [np.flatnonzero(labels == each) for each in np.unique(labels)]
    if held_out is None:
        return [(rows, (_TEST, _SELECTION, _CALIBRATION)) for rows in classes]
    wanted = _TEST + _SELECTION
    taken = min(wanted, float(held_out.mean()))
    scale = taken / wanted / float(held_out.mean())
    left = max(0.0, 1 - wanted * scale)
    calibration = _CALIBRATION / (1 - taken)
    kept = (_TEST * scale, _SELECTION * scale, calibration * left)
    return [
        (rows[held_out[rows] == chosen], shares)
        for chosen, shares in ((True, kept), (False, (0.0, 0.0, calibration)))
        for rows in classes
    ]
