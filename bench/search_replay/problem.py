"""One search to replay: a pool of candidates on a device, a bound, and launches that cost."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from distillfarm.controller.search.features import Features

from .devices import Cells, Device
from .noise import Noise, drawn

POOL = 500
_VERIFIABLE, _LOOKED_AT = 0.75, 400


class Aim(Enum):
    """What is made best within what bound."""

    ACCURACY = "accuracy within latency"
    LATENCY = "latency within accuracy"
    CAPACITY = "capacity within latency"


AIMS = {each.name.lower(): each for each in Aim}
"""By the names that command lines take."""


@dataclass(frozen=True)
class Problem:
    """``latency_ms`` [pool] are the true medians over launches; the host knows ``merit`` [pool].

    That is the accuracy, or the capacity; ``limit`` is the most milliseconds, or the least of it.
    """

    device: Device
    aim: Aim
    seed: int
    rows: NDArray[np.intp]
    features: tuple[Features, ...]
    latency_ms: NDArray[np.float64]
    merit: NDArray[np.float64]
    limit: float
    noise: Noise

    def feasible(self, row: int) -> bool:
        """Whether the true value keeps the bound."""
        if self.aim is Aim.LATENCY:
            return bool(self.merit[row] >= self.limit)
        return bool(self.latency_ms[row] <= self.limit)

    def regret(self, row: int) -> float:
        """By what part the objective is worse than that of the best that keeps the bound."""
        return self._worse(row, [each for each in range(len(self.rows)) if self.feasible(each)])

    def regret_verifiable(self, row: int) -> float:
        """The same against the best that verdicts of 1 % can be expected to pass.

        That is one of whose launches three in four are within the bound: it takes about 45.
        """
        if self.aim is Aim.LATENCY:
            return self.regret(row)
        random = np.random.default_rng((self.seed, 2))
        factors = self.noise.factors(random, _LOOKED_AT)
        launches = told(self.latency_ms[:, None] * factors, self.device)
        shares = (launches <= self.limit).mean(axis=1)
        able = [int(each) for each in np.flatnonzero(shares >= _VERIFIABLE)]
        rows = [each for each in able if self.feasible(each)]
        return max(self._worse(row, rows or [row]), 0.0)

    def _worse(self, row: int, rows: list[int]) -> float:
        if self.aim is Aim.LATENCY:
            return float(self.latency_ms[row] / self.latency_ms[rows].min() - 1)
        return float(1 - self.merit[row] / self.merit[rows].max())


def told(latency_ms: NDArray[np.float64], device: Device) -> NDArray[np.float64]:
    """What the device tells of such a launch."""
    return np.maximum(np.round(latency_ms), 1.0) if device.whole else latency_ms


class Launcher:
    """Makes launches and counts them; a device that tells whole milliseconds rounds."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._random = np.random.default_rng((problem.seed, 1))
        self.made = 0

    def launch(self, row: int, count: int) -> tuple[float, ...]:
        """Milliseconds, one value a launch."""
        self.made += count
        factors = self._problem.noise.factors(self._random, count)
        values = told(self._problem.latency_ms[row] * factors, self._problem.device)
        return tuple(map(float, values))


def draw(cells: Cells, device: Device, aim: Aim, seed: int, pool: int = POOL) -> Problem:
    """The problem of a seed: pool, noise, and a bound that 20 to 80 % of the pool keep."""
    random = np.random.default_rng(seed)
    count = len(cells.features)
    rows = random.choice(count, min(pool, count), replace=False)
    latency = device.latency_ms[rows]
    merit = (cells.capacity if aim is Aim.CAPACITY else cells.accuracy)[rows]
    share = random.uniform(0.2, 0.8)
    bounded = merit if aim is Aim.LATENCY else latency
    limit = float(np.quantile(bounded, share))
    return Problem(
        device=device,
        aim=aim,
        seed=seed,
        rows=rows,
        features=tuple(cells.features[row] for row in rows),
        latency_ms=latency,
        merit=merit,
        limit=limit,
        noise=drawn(random),
    )
