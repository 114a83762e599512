"""Devices whose latencies are recorded, and made-up ones to which nothing was fitted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distillfarm.controller.search.features import Features

RECORDED = Path(__file__).with_name("nasbench201_latency.npz")
"""NAS-Bench-201 (Dong & Yang, ICLR 2020) on four devices; see README.md beside it."""
_ACCURACIES = Path(__file__).with_name("nasbench201_accuracy.npz")
"""Of every cell of it, trained on CIFAR-100."""
_SUFFIX = "_ms"
_WEIGHT = {"nor_conv_3x3": 9.0, "nor_conv_1x1": 1.0}
"""Of the cell's convolutions, in proportion to their parameters."""
_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_NODES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From which node to which an edge leads; 0 is the cell's input."""
_OUTPUT = 3
_EDGES = len(_NODES)


@dataclass(frozen=True)
class Cells:
    """Architectures: which operation is on which of six edges, and what it amounts to.

    ``accuracy`` [n] is that of the trained cell, in percent of CIFAR-100's test images;
    ``capacity`` [n] the count of its convolutions, weighted.
    """

    features: tuple[Features, ...]
    accuracy: NDArray[np.float64]
    capacity: NDArray[np.float64]


@dataclass(frozen=True)
class Device:
    """The latency of every cell in milliseconds; ``whole`` tells whole milliseconds only."""

    name: str
    latency_ms: NDArray[np.float64]
    whole: bool


def recorded(path: Path) -> tuple[Cells, tuple[Device, ...]]:
    """An .npz with ``architecture`` [n] and an array [n] named ``..._ms`` for each device.

    Raises:
        ValueError: an architecture is no cell of NAS-Bench-201, so its accuracy is not known.
    """
    with np.load(path, allow_pickle=False) as archive:
        cells = _cells([_parsed(str(each)) for each in archive["architecture"]])
        latencies = {
            name: archive[name].astype(np.float64)
            for name in archive.files
            if name.endswith(_SUFFIX)
        }
    return cells, tuple(
        Device(name.removesuffix(_SUFFIX), each, bool(np.all(each == np.round(each))))
        for name, each in latencies.items()
    )


def made_up(count: int, seed: int = 0) -> tuple[Cells, tuple[Device, ...]]:
    """All 15,625 cells on devices of random costs.

    An operation costs something of its own on each edge, pairs of operations on neighbouring edges
    cost or save something (fused, or copied), and every cell has a share of its own by which it
    differs from that, of 1 to 10 %.
    """
    grid = np.stack(np.meshgrid(*[np.arange(len(_OPERATIONS))] * _EDGES, indexing="ij"), -1)
    rows = grid.reshape(-1, _EDGES)
    random = np.random.default_rng(seed)
    devices = []
    for number in range(count):
        edges = np.arange(_EDGES)
        of_kind = random.lognormal(0.0, 1.0, len(_OPERATIONS))
        costs = of_kind * random.lognormal(0.0, 0.3, (_EDGES, len(_OPERATIONS)))
        pairs = random.normal(0.0, 0.3, (_EDGES - 1, len(_OPERATIONS), len(_OPERATIONS)))
        total = random.uniform(0.0, 3.0) + costs[edges, rows].sum(axis=1)
        total += (of_kind.mean() * pairs[edges[1:] - 1, rows[:, :-1], rows[:, 1:]]).sum(axis=1)
        total = np.maximum(total, 0.1 * np.median(total))
        own = np.exp(random.normal(0.0, random.uniform(0.01, 0.1), len(rows)))
        scale = random.lognormal(2.0, 1.0) / np.median(total)
        devices.append(Device(f"made_up_{number + 1}", scale * total * own, whole=False))
    return _cells([tuple(_OPERATIONS[each] for each in row) for row in rows]), tuple(devices)


def _parsed(text: str) -> tuple[str, ...]:
    """``|op~0|+|op~0|op~1|+...`` as its operations."""
    return tuple(each.split("~")[0] for each in text.replace("+", "").split("|") if each)


def _cells(rows: list[tuple[str, ...]]) -> Cells:
    kinds = sorted({each for row in rows for each in row})
    used = [_used(row) for row in rows]
    features = tuple(
        Features(
            tuple((f"edge {edge}", each) for edge, each in enumerate(row)),
            (
                *((each, float(row.count(each))) for each in kinds),
                *((f"used {each}", float(part.count(each))) for each in kinds),
            ),
        )
        for row, part in zip(rows, used, strict=True)
    )
    capacity = [sum(_WEIGHT.get(each, 0.0) for each in part) for part in used]
    known = _accuracies()
    if unknown := next((row for row in rows if row not in known), None):
        raise ValueError(f"{unknown} is no cell of NAS-Bench-201, so its accuracy is not known")
    return Cells(features, np.array([known[row] for row in rows]), np.array(capacity))


@lru_cache(maxsize=1)
def _accuracies() -> Mapping[tuple[str, ...], float]:
    with np.load(_ACCURACIES, allow_pickle=False) as archive:
        percent = archive["cifar100_percent"].astype(np.float64).tolist()
        rows = [_parsed(str(each)) for each in archive["architecture"]]
    return dict(zip(rows, percent, strict=True))


def _used(row: tuple[str, ...]) -> tuple[str, ...]:
    """The operations that lie on a way from the cell's input to its output."""
    edges = [edge for edge, each in zip(_NODES, row, strict=True) if each != "none"]
    reached, leading = {0}, {_OUTPUT}
    for source, target in edges:
        if source in reached:
            reached.add(target)
    for source, target in reversed(edges):
        if target in leading:
            leading.add(source)
    return tuple(
        each
        for (source, target), each in zip(_NODES, row, strict=True)
        if each != "none" and source in reached and target in leading
    )
