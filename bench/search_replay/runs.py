"""Many seeds of a replay, two at a time, and what they come to."""

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from .ours import GRID_LAUNCHES, Delivered
from .problem import Problem

_CHUNKS = 16
NEAR = 0.03
"""An objective that is worse than the best by no more is near it."""


@dataclass(frozen=True)
class Run:
    """One search: ``regret`` and ``verifiable`` are 0..1, None where nothing right was delivered.

    ``share`` is that of the launches of a grid with three each.
    """

    delivered: bool
    violated: bool
    regret: float | None
    verifiable: float | None
    share: float

    @property
    def near(self) -> bool:
        """Whether it delivered one that keeps the bound and is near the best."""
        return self.regret is not None and self.regret <= NEAR


def judged(problem: Problem, delivered: Delivered) -> Run:
    """What a search delivered, against the recorded values."""
    share = delivered.launches / (GRID_LAUNCHES * len(problem.rows))
    if delivered.row is None:
        return Run(False, False, None, None, share)
    if not problem.feasible(delivered.row):
        return Run(True, True, None, None, share)
    row = delivered.row
    return Run(True, False, problem.regret(row), problem.regret_verifiable(row), share)


@dataclass(frozen=True)
class Total:
    """Many runs: shares 0..1, regrets of those that delivered one within the bound."""

    runs: int
    share: float
    violated: float
    nothing: float
    regret: float
    regret_median: float
    regret_q90: float
    verifiable: float
    near: float


def total(runs: Sequence[Run]) -> Total:
    """What runs come to."""
    regrets = [each.regret for each in runs if each.regret is not None] or [1.0]
    verifiable = [each.verifiable for each in runs if each.verifiable is not None] or [1.0]
    return Total(
        runs=len(runs),
        share=statistics.fmean(each.share for each in runs),
        violated=statistics.fmean(each.violated for each in runs),
        nothing=statistics.fmean(not each.delivered for each in runs),
        regret=statistics.fmean(regrets),
        regret_median=statistics.median(regrets),
        regret_q90=float(np.quantile(regrets, 0.9)),
        verifiable=statistics.fmean(verifiable),
        near=statistics.fmean(each.near for each in runs),
    )


def spread_out(pool: Executor, work: Callable[[int], Run], seeds: Sequence[int]) -> list[Run]:
    """``work``, which must be picklable, on every seed."""
    return list(pool.map(work, seeds, chunksize=max(len(seeds) // _CHUNKS, 1)))
