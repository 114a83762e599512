"""What limits a layer: arithmetic, memory, or what it costs to start an operator at all."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from distillfarm.compression.analysis.layers import Layer

BALANCE_MACS_PER_BYTE = 8.0
"""About what a phone's CPU core multiplies and accumulates in the time of fetching one byte from
memory: the ridge of its roofline (Williams, Waterman and Patterson, CACM 52, 2009). Used where no
times were measured."""
# A kernel that takes this many times longer than arithmetic and memory explain waits for neither.
_UNEXPLAINED = 10.0
_SIDE, _COPIED_BYTES, _REPEATS = 384, 8 << 20, 5


class Limit(Enum):
    """What is waited for."""

    COMPUTE = "compute"
    MEMORY = "memory"
    OVERHEAD = "overhead"


@dataclass(frozen=True)
class Host:
    """The analysing computer's own speed on one thread, in float32."""

    macs_per_us: float
    bytes_per_us: float


def measure_host() -> Host:
    """The best of a few large products and copies; about a tenth of a second."""
    left, right = np.ones((2, _SIDE, _SIDE), np.float32)
    source, target = np.zeros((2, _COPIED_BYTES), np.uint8)
    return Host(
        _SIDE**3 / _best_us(lambda: left @ right),
        # A copy reads and writes.
        2 * _COPIED_BYTES / _best_us(lambda: np.copyto(target, source)),
    )


def limit(layer: Layer, host: Host) -> Limit | None:
    """What this layer waits for on ``host``; None where it was not timed."""
    if not layer.time_us:
        return None
    compute_us = layer.macs / host.macs_per_us
    memory_us = layer.moved_bytes / host.bytes_per_us
    if layer.time_us > _UNEXPLAINED * max(compute_us, memory_us):
        return Limit.OVERHEAD
    return Limit.COMPUTE if compute_us >= memory_us else Limit.MEMORY


def shares(layers: Sequence[Layer], host: Host) -> dict[Limit, float]:
    """Of the measured time, the part that is spent in layers of each limit."""
    total = sum(each.time_us or 0.0 for each in layers)
    found = dict.fromkeys(Limit, 0.0)
    for each in layers:
        kind = limit(each, host)
        if kind is not None and each.time_us:
            found[kind] += each.time_us / total
    return found


def _best_us(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_REPEATS):
        before_ns = time.perf_counter_ns()
        work()
        best = min(best, (time.perf_counter_ns() - before_ns) / 1000)
    return best
