"""The samples that a quantiser takes its ranges from."""

from collections.abc import Iterator

import numpy as np

from distillfarm.compression.datasets import Array, Samples, load_for_passes
from distillfarm.compression.protocols import PassRefused, Workspace
from distillfarm.domain.model import Signature

MIN_SAMPLES = 16
"""Fewer say too little of the ranges; a data set of 320 samples gives as many."""
_SHARE_OF_ALL = 0.05
_DONE = 0.5


class Batches:
    """Calibration samples in the model's own batch size, one after another, as often as asked."""

    def __init__(self, samples: Samples, signature: Signature, workspace: Workspace) -> None:
        self._samples = samples
        self._batch = max(1, signature.inputs[0].shape[0])
        self._workspace = workspace

    def __iter__(self) -> Iterator[dict[str, Array]]:
        total = len(self._samples) // self._batch
        for index in range(total):
            self._workspace.report(
                _DONE * index / total, f"calibrating, batch {index + 1} of {total}"
            )
            rows = slice(index * self._batch, (index + 1) * self._batch)
            yield dict(self._samples.take(rows).inputs)


def batches(signature: Signature, workspace: Workspace, most: int) -> Batches:
    """At most ``most`` samples of the calibration split, the same ones for the same seed.

    Raises:
        PassRefused: there are too few.
    """
    data = load_for_passes(workspace.data, signature, workspace.split_seed).calibration
    batch = max(1, signature.inputs[0].shape[0])
    if len(data) < max(MIN_SAMPLES, batch):
        raise PassRefused(
            f"{len(data)} calibration samples; at least {max(MIN_SAMPLES, batch)} are needed:"
            f" give {round(max(MIN_SAMPLES, batch) / _SHARE_OF_ALL):,} samples or more in the data"
            " file, or use int8_dynamic, which needs none"
        )
    rows = np.random.default_rng(workspace.seed).permutation(len(data))[:most]
    return Batches(data.take(np.sort(rows)), signature, workspace)
