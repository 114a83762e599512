"""Files against the FP32 file and against each other; which is best, and who beats whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distillfarm.compression.datasets import Samples
from distillfarm.compression.evaluation import Accuracy, wilson
from distillfarm.compression.inference import open_model
from distillfarm.compression.packing import packed_bytes
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import FarmError
from distillfarm.domain.interval import Interval
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import Quality
from techniques import timing
from techniques.building import Built
from techniques.peers import PeerFile
from techniques.recipes import ORIGINAL
from techniques.workloads import Workload

Outputs = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Row:
    """One file, or why there is none.

    ``smaller`` and ``faster`` are against the FP32 file of the same runtime; ``packs`` marks sizes
    that are those of packed files. Drops are points, ``agreement`` is 0..1, both against FP32 on
    the test split. ``outputs`` are the answers there.
    """

    workload: str
    runtime: str
    name: str
    refused: str = ""
    size_bytes: int = 0
    packs: bool = False
    smaller: float = 0.0
    faster: Interval | None = None
    ms: float = 0.0
    selection_drop: float = 0.0
    quality: Quality | None = None
    drop: Interval | None = None
    agreement: Interval | None = None
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    notes: tuple[str, ...] = ()
    outputs: Outputs = field(default_factory=dict, repr=False, compare=False)


class Judge:
    """Compares the files of one workload and runtime with its FP32 file."""

    def __init__(self, workload: Workload, original: Built, test: Samples, rounds: int) -> None:
        self._workload, self._original, self._test, self._rounds = workload, original, test, rounds
        self._outputs = _answers(original.path, original.format, test)
        self._one = {name: array[:1] for name, array in test.inputs.items()}
        self._base = timing.loaded(original.path, original.format, self._one)

    def ours(self, built: Built) -> Row:
        """A row for a recipe of ours."""
        row = Row(
            self._workload.name,
            built.runtime,
            built.recipe,
            built.refused,
            packs=built.packs,
            selection_drop=built.selection_drop,
            seconds=built.seconds,
            peak_rss_bytes=built.peak_rss_bytes,
            notes=built.notes,
        )
        return row if built.refused else self._judged(row, built.path)

    def theirs(self, made: PeerFile) -> Row:
        """A row for a peer's file."""
        row = Row(
            self._workload.name,
            made.peer.runtime,
            made.peer.name,
            made.failed,
            seconds=made.seconds,
            peak_rss_bytes=made.peak_rss_bytes,
        )
        if made.failed:
            return row
        try:
            return self._judged(row, made.path)
        except FarmError as error:
            return replace(row, refused=f"its file does not run: {error}")

    def _judged(self, row: Row, path: Path) -> Row:
        form, labels, accuracy = self._original.format, self._test.labels, Accuracy()
        outputs = _answers(path, form, self._test)
        size, whole = path.stat().st_size, self._original.size_bytes
        if row.packs:
            size, whole = packed_bytes(path), packed_bytes(self._original.path)
        faster, ms = timing.faster(self._base, timing.loaded(path, form, self._one), self._rounds)
        drop = accuracy.drop(self._outputs, outputs, labels)
        if row.name == ORIGINAL:
            drop = Interval(0.0, 0.0, 0.0)
        return replace(
            row,
            size_bytes=size,
            smaller=whole / size,
            faster=faster,
            ms=ms,
            quality=accuracy.quality(outputs, labels),
            drop=drop,
            agreement=_agreement(self._outputs, outputs),
            outputs=outputs,
        )


def best(rows: Sequence[Row], workload: Workload, max_drop: float) -> Row | None:
    """The recipe that gives up least among those that reach both aims, else the nearest to them.

    Chosen by the drop on the selection split, as a study would: the test split judges what was
    chosen and must not choose. None if every recipe loses more than ``max_drop`` points there.
    """
    fitting = [
        row
        for row in rows
        if not row.refused and not row.packs and row.name != ORIGINAL
        if row.selection_drop <= max_drop
    ]
    reaching = [row for row in fitting if _reach(row, workload) >= 1]
    if reaching:
        return min(reaching, key=lambda row: (row.selection_drop, -_reach(row, workload)))
    return max(fitting, key=lambda row: _reach(row, workload), default=None)


def aims_met(row: Row, workload: Workload, max_drop: float) -> bool:
    """Whether the chosen recipe keeps all three promises, on the test split."""
    return _reach(row, workload) >= 1 and row.drop is not None and row.drop.value <= max_drop


def _reach(row: Row, workload: Workload) -> float:
    faster = row.faster.value if row.faster else 0.0
    return min(row.smaller / workload.min_smaller, faster / workload.min_faster)


@dataclass(frozen=True)
class Match:
    """A peer's file and the row of ours that is at least as good, if there is one.

    ``lost`` are the points that ours loses against the peer's, paired, on the test split.
    """

    peer: Row
    ours: Row | None
    lost: Interval | None = None


def match(peer: Row, rows: Sequence[Row], labels: NDArray[np.generic], noise: float) -> Match:
    """Of ours that are no larger, no slower and no worse, the one that loses least.

    No slower: by less than the share ``noise``, or the intervals of both speeds overlap. No worse:
    the paired interval of the loss holds zero or lies below it.
    """
    found: list[tuple[Interval, Row]] = []
    for row in rows:
        if row.refused or row.packs or row.runtime != peer.runtime:
            continue
        if row.faster is None or peer.faster is None or row.size_bytes > peer.size_bytes:
            continue
        lost = Accuracy().drop(peer.outputs, row.outputs, labels)
        if row.faster.high >= peer.faster.low * (1 - noise) and lost.low <= 0:
            found.append((lost, row))
    if not found:
        return Match(peer, None)
    lost, row = min(found, key=lambda each: each[0].value)
    return Match(peer, row, lost)


def _agreement(reference: Outputs, outputs: Outputs) -> Interval:
    one, other = (next(iter(each.values())) for each in (reference, outputs))
    same = one.argmax(axis=1) == other.argmax(axis=1)
    return Interval(float(same.mean()), *wilson(int(same.sum()), len(same)))


def _answers(path: Path, form: ModelFormat, test: Samples) -> Outputs:
    return open_model(WorkingModel(path, form), 1)(test.inputs)
