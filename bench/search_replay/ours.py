"""Our search on a problem, by the pursuit that a study asks, on one phone without a fault."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.learning import Measured
from distillfarm.controller.search.pursuit import Pursuit
from distillfarm.controller.search.race import Race
from distillfarm.controller.search.verification import Ruling
from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Bound, Metric, Sla, Verdict
from distillfarm.statistics.summary import LaunchValues
from distillfarm.statistics.verdicts import judge_launches

from .devices import Device
from .noise import drawn
from .problem import Aim, Launcher, Problem, told

SHARE = 0.12
"""Of the launches of a grid with three each."""
GRID_LAUNCHES = 3
_FIRST_LOOK = 1


@dataclass(frozen=True)
class Delivered:
    """Which row of the pool was delivered, None if none was; and the launches it took."""

    row: int | None
    launches: int


def budget_of(problem: Problem, share: float = SHARE) -> int:
    """Launches that a search may make."""
    return int(share * GRID_LAUNCHES * len(problem.rows))


def search(problem: Problem, budget: int, elsewhere: Sequence[Measured] = ()) -> Delivered:
    """Race and verify in turns, deliver the best that passed."""
    launcher = Launcher(problem)
    objective = Metric.WARM_P90 if problem.aim is Aim.LATENCY else Metric.ACCURACY_DROP
    race = Race(problem.device.name, sla(problem), objective, _FIRST_LOOK, budget)
    race.learn(elsewhere)
    race.enter([arm(problem, row) for row in range(len(problem.rows))])
    pursuit = Pursuit(race, budget)
    fresh: dict[str, tuple[float, ...]] = {}
    while step := pursuit.ask():
        for look in step.looks:
            launched = launcher.launch(int(look.key), look.launches)
            if step.fresh:
                fresh[look.key] = (*fresh.get(look.key, ()), *launched)
                pursuit.verified(look, values(launched), ruling(problem, fresh[look.key]))
            else:
                pursuit.raced(look.key, values(launched))
    return Delivered(int(pursuit.delivered) if pursuit.delivered else None, launcher.made)


def ruling(problem: Problem, fresh_ms: tuple[float, ...]) -> Ruling:
    """How fresh launches are judged; a bound on accuracy is the host's, and holds."""
    if problem.aim is Aim.LATENCY:
        return Ruling(Verdict.PASS)
    judged = judge_launches(fresh_ms, problem.limit)
    return Ruling(judged.verdict, judged.more_launches)


def sla(problem: Problem) -> Sla:
    """The bound of the problem; a drop is one from nothing here."""
    if problem.aim is Aim.LATENCY:
        return Sla((Bound(Metric.ACCURACY_DROP, -problem.limit),))
    return Sla((Bound(Metric.WARM_P90, problem.limit),))


def arm(problem: Problem, row: int) -> Arm:
    """A cell whose accuracy, or capacity, the host knows."""
    lost = -float(problem.merit[row])
    known = {Metric.ACCURACY_DROP: Interval(lost, lost, lost)}
    return Arm(str(row), problem.features[row], known)


def values(launches_ms: tuple[float, ...]) -> LaunchValues:
    """Launches of which nothing but the latency is known."""
    nothing = (1.0,) * len(launches_ms)
    return LaunchValues(
        cold_ms=nothing,
        load_ms=nothing,
        first_inference_ms=nothing,
        warm_p50_ms=launches_ms,
        warm_p90_ms=launches_ms,
        warm_p99_ms=launches_ms,
        peak_memory_bytes=nothing,
    )


def measured(problem: Problem, devices: Sequence[Device], cells: int) -> list[Measured]:
    """Some of the pool's cells as other devices measured them, three launches each."""
    found = []
    for number, device in enumerate(devices):
        if device.name == problem.device.name:
            continue
        random = np.random.default_rng((problem.seed, 3, number))
        noise = drawn(random)
        for row in random.choice(len(problem.rows), min(cells, len(problem.rows)), replace=False):
            true_ms = device.latency_ms[problem.rows[row]]
            launches = told(true_ms * noise.factors(random, GRID_LAUNCHES), device)
            told_ms = tuple(map(float, launches))
            found.append(Measured(device.name, arm(problem, int(row)), values(told_ms)))
    return found
