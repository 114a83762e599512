"""Peers on the same problem by the same launches: Optuna's samplers and Olive's search strategy.

Each of their trials is a proposal of operations for the six edges, taken for the nearest cell of
the pool that was not tried, and three launches of it, as on a grid: their median is what the peer
is told. Delivered is the best by what was told that kept the bound, as their users would do.
"""

import json
import os
import statistics
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution

from .ours import GRID_LAUNCHES, Delivered
from .problem import Aim, Launcher, Problem

_PROGRAM = Path(__file__).with_name("olive_program.py")


@dataclass(frozen=True)
class Trial:
    """What a peer is told: both are to be small, and ``excess`` of 0 or less keeps the bound."""

    objective: float
    excess: float


class Asking(Protocol):
    """A peer's search: ``ask`` for an operation on every edge, then ``tell`` what came of it."""

    def ask(self) -> tuple[str, ...]:
        """The next proposal."""

    def tell(self, trial: Trial) -> None:
        """What came of the last proposal."""


def search(problem: Problem, budget: int, peer: Asking) -> Delivered:
    """All of the budget, three launches a trial."""
    launcher = Launcher(problem)
    edges = np.array([[value for _, value in each.choices] for each in problem.features])
    untried = np.ones(len(edges), dtype=bool)
    tried: dict[int, Trial] = {}
    while launcher.made + GRID_LAUNCHES <= budget and untried.any():
        differing = (edges != np.array(peer.ask())).sum(axis=1)
        row = int(np.argmin(np.where(untried, differing, edges.shape[1] + 1)))
        untried[row] = False
        latency_ms = statistics.median(launcher.launch(row, GRID_LAUNCHES))
        tried[row] = _trial(problem, row, latency_ms)
        peer.tell(tried[row])
    able = {row: each for row, each in tried.items() if each.excess <= 0}
    best = min(able, key=lambda row: able[row].objective, default=None)
    return Delivered(best, launcher.made)


def _trial(problem: Problem, row: int, latency_ms: float) -> Trial:
    merit = float(problem.merit[row])
    if problem.aim is Aim.LATENCY:
        return Trial(latency_ms, 1 - merit / problem.limit)
    return Trial(-merit, latency_ms / problem.limit - 1)


class Optuna:
    """One of Optuna's samplers as it comes, with the bound as a constraint."""

    def __init__(self, problem: Problem, sampler: optuna.samplers.BaseSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._space = {name: CategoricalDistribution(each) for name, each in space(problem)}
        self._trial: optuna.Trial | None = None

    def ask(self) -> tuple[str, ...]:
        """The next proposal."""
        self._trial = self._study.ask(dict(self._space))
        return tuple(self._trial.params[name] for name in self._space)

    def tell(self, trial: Trial) -> None:
        """What came of the last proposal."""
        if self._trial is not None:
            self._trial.set_constraint("bound", trial.excess)
            self._study.tell(self._trial, trial.objective)


class Olive:
    """Olive's ``SearchStrategy`` in its own environment; it knows goals, no constraints."""

    def __init__(self, python: Path, problem: Problem, sampler: str, seed: int) -> None:
        self._program = _program(python)
        self._say({"space": dict(space(problem)), "sampler": sampler, "seed": seed})

    def ask(self) -> tuple[str, ...]:
        """The next proposal."""
        said = self._program.stdout.readline() if self._program.stdout else ""
        if not said:
            raise OSError("Olive's search ended before its budget; its traceback is above")
        return tuple(json.loads(said))

    def tell(self, trial: Trial) -> None:
        """What came of the last proposal."""
        self._say({"objective": trial.objective, "excess": trial.excess})

    def close(self) -> None:
        """End this search; the program waits for another."""
        self.ask()
        self._say(None)

    def _say(self, line: object) -> None:
        if self._program.stdin is not None:
            self._program.stdin.write(json.dumps(line) + "\n")
            self._program.stdin.flush()


@lru_cache
def _program(python: Path) -> subprocess.Popen[str]:
    """One for this process: it takes seconds to start, and ends when nobody writes to it."""
    return subprocess.Popen(
        [python, "-W", "ignore", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OLIVE_DISABLE_TELEMETRY": "1"},
    )


def space(problem: Problem) -> list[tuple[str, list[str]]]:
    """Every edge with the operations that the pool has on it."""
    rows = [dict(each.choices) for each in problem.features]
    return [(name, sorted({row[name] for row in rows})) for name in rows[0]]


OPTUNA: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "Optuna random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "Optuna TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "Optuna NSGA-II": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "Optuna GP": lambda seed: optuna.samplers.GPSampler(seed=seed),
}
OLIVE = {"Olive random": "random", "Olive TPE": "tpe"}
