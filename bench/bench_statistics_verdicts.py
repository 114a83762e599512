"""How often a verdict is wrong or missing, with the true median 0 to 20 % either side of the bound.

The verdict is asked after every launch, up to a cap. Ends with 1 when more than 1 % of the bounds
that do not hold pass, more than 2 % of those that hold fail, or more than 10 % stay inconclusive at
the cap that a study has by default.
"""

import os
import sys

# One thread: nothing here gains by more. It must be said before NumPy loads.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import statistics_replay.report as replay
from statistics_replay.populations import RECORDED, Population, recorded, steady

from distillfarm.domain.study import StudySpec, Verdict
from distillfarm.statistics.classes import DeviceClass
from distillfarm.statistics.verdicts import judge_counts

FALSE_PASS = 0.01
FALSE_FAIL = 0.02
INCONCLUSIVE = 0.10
AROUND = 0.20
CAPS = (60, 128, 256, 512)


def main() -> int:
    """Run it; the exit status."""
    parser = replay.options(str(__doc__), RECORDED)
    parser.add_argument("--verdicts", type=int, default=1000, help="for each population")
    asked = parser.parse_args()
    default_cap = StudySpec.max_final_launches
    caps = tuple(sorted({*CAPS, default_cap}))
    chance = np.random.default_rng(asked.seed)
    populations = [
        *recorded(asked.launches),
        *(each for kind in DeviceClass for each in steady(kind)),
    ]
    rows = [row(each, asked.verdicts, caps, default_cap, chance) for each in populations]
    columns = (
        "bound 0-20 % away",
        "false pass",
        "false fail",
        *(f"open at {cap}" for cap in caps),
        f"launches at {default_cap}",
        "median",
    )
    kept = replay.report("verdicts after every launch, %", columns, rows)
    replay.CONSOLE.print(
        f"aim: false pass at most {FALSE_PASS:.0%}, false fail at most {FALSE_FAIL:.0%}, "
        f"inconclusive at most {INCONCLUSIVE:.0%} at {default_cap} launches (a study's default)"
    )
    return 0 if kept else 1


def row(
    population: Population,
    verdicts: int,
    caps: tuple[int, ...],
    default_cap: int,
    chance: np.random.Generator,
) -> replay.Row:
    """The verdicts about one population."""
    away = chance.uniform(-AROUND, AROUND, verdicts)
    launches = population.draw(chance, (verdicts, caps[-1]))
    within = np.cumsum(launches <= (population.median * (1 + away))[:, None], axis=1)
    settled = [first_verdict(each) for each in within.tolist()]
    beyond = away < 0
    passed = np.array([verdict is Verdict.PASS for verdict, _ in settled])
    failed = np.array([verdict is Verdict.FAIL for verdict, _ in settled])
    needed = np.array([count for _, count in settled])
    false_pass = float(passed[beyond].mean())
    false_fail = float(failed[~beyond].mean())
    still_open = {cap: float(np.mean(needed > cap)) for cap in caps}
    spent = np.minimum(needed, default_cap)
    cells = (
        population.name,
        f"{100 * false_pass:.2f}",
        f"{100 * false_fail:.2f}",
        *(f"{100 * still_open[cap]:.1f}" for cap in caps),
        f"{spent.mean():.0f}",
        f"{np.median(spent):.0f}",
    )
    kept = (
        false_pass <= FALSE_PASS
        and false_fail <= FALSE_FAIL
        and still_open[default_cap] <= INCONCLUSIVE
    )
    return replay.Row(cells, kept)


def first_verdict(within: list[int]) -> tuple[Verdict, int]:
    """The first that is not inconclusive and after how many launches, or one more than there are.

    Args:
        within: how many of the first 1, 2, ... launches were within the bound.
    """
    for made, inside in enumerate(within, 1):
        verdict = judged(inside, made - inside)
        if verdict is not Verdict.INCONCLUSIVE:
            return verdict, made
    return Verdict.INCONCLUSIVE, len(within) + 1


_judged: dict[tuple[int, int], Verdict] = {}


def judged(within: int, beyond: int) -> Verdict:
    """The verdict by counts, remembered."""
    counts = (within, beyond)
    if counts not in _judged:
        _judged[counts] = judge_counts(within, beyond)
    return _judged[counts]


if __name__ == "__main__":
    sys.exit(main())
