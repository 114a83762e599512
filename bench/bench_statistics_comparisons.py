"""How often a comparison finds a difference where there is none, and where there is one.

Both sides are launches of one device: taken in turn (A B B A) or one side after the other, with and
without a slow drift that makes the last launch of the session slower than the first by half of the
class's minimum effect. Power is told for the minimum effect and for one and a half of it. Ends
with 1 when more than 1 % of the comparisons without a difference find one.
"""

import os
import sys

# One thread: nothing here gains by more. It must be said before NumPy loads.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import statistics_replay.report as replay
from statistics_replay.populations import RECORDED, Population, Values, recorded, steady

from distillfarm.domain.measurement import Finding
from distillfarm.statistics.classes import DeviceClass
from distillfarm.statistics.comparison import compare_pairs, compare_separate

ALARMS = 0.01
LAUNCHES = (10, 20, 30)


def main() -> int:
    """Run it; the exit status."""
    parser = replay.options(str(__doc__), RECORDED)
    parser.add_argument("--comparisons", type=int, default=300, help="of each kind and size")
    parser.add_argument("--power", type=int, default=100, help="comparisons for a power")
    asked = parser.parse_args()
    chance = np.random.default_rng(asked.seed)
    populations = [
        *recorded(asked.launches),
        *(each for kind in DeviceClass for each in steady(kind)),
    ]
    rows = [row(each, asked.comparisons, asked.power, chance) for each in populations]
    alarms = np.array([shares for _, shares in rows]).mean(axis=0)
    total = [f"{100 * share:.2f}" for share in alarms]
    kept_aim = bool(alarms.max() <= ALARMS)
    printed = [cells for cells, _ in rows]
    printed.append(replay.Row(("together", "", *total, "", "", ""), kept_aim))
    columns = ("launches of", "effect", "A/A in turn", "drifting", "A/A apart", "drifting")
    powers = ("in turn, 1x", "apart, 1x", "apart, 1.5x")
    title = "share of comparisons that find a difference, %"
    kept = replay.report(title, (*columns, *powers), printed)
    replay.CONSOLE.print(
        f"aim: at most {ALARMS:.0%} of A/A, in turn and apart, with drift in the session and "
        "without, over 10, 20 and 30 launches a side together; behind it the power at the class's "
        "effect, and at one and a half of it, with 10 / 20 / 30 launches a side"
    )
    return 0 if kept else 1


def row(
    population: Population, comparisons: int, power: int, chance: np.random.Generator
) -> tuple[replay.Row, list[float]]:
    """One population's line, and its four shares of false alarms."""
    effect = population.kind.minimum_effect
    alarms = [
        float(
            np.mean(
                [
                    found(population, count, comparisons, chance, drift=drift, in_turn=in_turn)
                    for count in LAUNCHES
                ]
            )
        )
        for in_turn in (True, False)
        for drift in (0.0, effect / 2)
    ]
    powers = [
        "/".join(
            f"{100 * found(population, count, power, chance, slower=slower, in_turn=in_turn):.0f}"
            for count in LAUNCHES
        )
        for slower, in_turn in ((effect, True), (effect, False), (1.5 * effect, False))
    ]
    cells = [*(f"{100 * share:.2f}" for share in alarms), *powers]
    return replay.Row((population.name, f"{effect:.0%}", *cells), None), alarms


def found(
    population: Population,
    launches: int,
    comparisons: int,
    chance: np.random.Generator,
    *,
    in_turn: bool,
    slower: float = 0.0,
    drift: float = 0.0,
) -> float:
    """The share of comparisons of so many launches a side that find a difference."""
    shown = 0
    for session in population.draw(chance, (comparisons, 2 * launches)):
        drifted = session * np.linspace(1, 1 + drift, session.size)
        first, second = sides(drifted, in_turn=in_turn)
        second = second * (1 + slower)
        comparison = (
            compare_pairs("warm_p50", first.tolist(), second.tolist())
            if in_turn
            else compare_separate(
                "warm_p50", first.tolist(), second.tolist(), population.kind.minimum_effect
            )
        )
        shown += comparison.finding is not Finding.NO_DIFFERENCE
    return shown / comparisons


def sides(session: Values, *, in_turn: bool) -> tuple[Values, Values]:
    """A B B A B A A B and so on, or one half after the other."""
    if not in_turn:
        half = session.size // 2
        return session[:half], session[half:]
    pairs = session.reshape(-1, 2).copy()
    pairs[1::2] = pairs[1::2, ::-1]
    return pairs[:, 0], pairs[:, 1]


if __name__ == "__main__":
    sys.exit(main())
