"""Device time of stopping by the width of the interval, against a fixed count of equal width.

A lab measures devices of every class, recorded and made up. The fixed count is the smallest at
which 95 % of all measurements are as narrow as asked for; a lab that knew each device beforehand
could fix one count for each, and that is told as well. All launches take equally long. Ends
with 1 when stopping by width saves less than 40 % of the device time, or when the intervals at
which it stops hold the median in less than 93 % of the measurements.
"""

import os
import sys

# One thread: nothing here gains by more. It must be said before NumPy loads.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import statistics_replay.report as replay
from statistics_replay.populations import RECORDED, Population, Values, recorded, steady

from distillfarm.domain.measurement import Stop
from distillfarm.statistics.classes import DeviceClass
from distillfarm.statistics.intervals import over_launches
from distillfarm.statistics.stopping import StoppingRule

SAVED = 0.40
COVERED = 0.93
REACHED = 0.95
LEAST = 5
MOST = 150


def main() -> int:
    """Run it; the exit status."""
    parser = replay.options(str(__doc__), RECORDED)
    parser.add_argument("--measurements", type=int, default=40, help="of each device")
    parser.add_argument("--width", type=float, default=0.10, help="of the interval, of its value")
    asked = parser.parse_args()
    chance = np.random.default_rng(asked.seed)
    lab = [*recorded(asked.launches), *(each for kind in DeviceClass for each in steady(kind))]
    rule = StoppingRule(LEAST, MOST, asked.width)
    drawn = [each.draw(chance, (asked.measurements, MOST)) for each in lab]
    stopped = [run(rule, each, values) for each, values in zip(lab, drawn, strict=True)]
    narrow = [narrow_from(values, asked.width) for values in drawn]
    together = fixed(np.concatenate(narrow))
    rows = [
        replay.Row(
            (
                each.name,
                f"{counts.mean():.1f}",
                str(fixed(needed)),
                str(together),
                f"{100 * reached.mean():.0f}",
                f"{100 * held.mean():.0f}",
            ),
            None,
        )
        for each, (counts, reached, held), needed in zip(lab, stopped, narrow, strict=True)
    ]
    spent = float(np.mean([counts.mean() for counts, _, _ in stopped]))
    alone = float(np.mean([fixed(needed) for needed in narrow]))
    saved = 1 - spent / together
    reached = float(np.mean([each.mean() for _, each, _ in stopped]))
    held = float(np.mean([each.mean() for _, _, each in stopped]))
    rows.append(
        replay.Row(
            (
                "the lab",
                f"{spent:.1f}",
                f"{alone:.1f}",
                str(together),
                f"{100 * reached:.0f}",
                f"{100 * held:.1f}",
            ),
            saved >= SAVED and held >= COVERED,
        )
    )
    columns = ("launches of", "by width", "fixed, known", "fixed", "narrow, %", "covered, %")
    kept = replay.report(f"launches for an interval of {asked.width:.0%}", columns, rows)
    replay.CONSOLE.print(
        f"device time saved against one fixed count: {saved:.0%} (aim {SAVED:.0%}); against a "
        f"count fixed for each device by who knows it: {1 - spent / alone:.0%}; "
        f"intervals hold the median: {held:.1%} (aim {COVERED:.0%})"
    )
    return 0 if kept else 1


def run(
    rule: StoppingRule, population: Population, values: Values
) -> tuple[Values, Values, Values]:
    """For each measurement: launches made, whether they were enough, whether the median is held."""
    counts, reached, held = [], [], []
    for launches in values.tolist():
        made = LEAST
        while (stop := rule.reached([launches[:made]], 0.0)) is None:
            made += 1
        interval = over_launches(launches[:made])
        counts.append(made)
        reached.append(stop is Stop.WIDTH)
        held.append(interval.low <= population.median <= interval.high)
    return np.array(counts, float), np.array(reached, float), np.array(held, float)


def narrow_from(values: Values, width: float) -> Values:
    """Of each measurement (row) whether its first 1, 2, ... launches have a narrow interval."""
    found = np.zeros(values.shape, dtype=float)
    for count in range(LEAST, values.shape[1] + 1):
        for index, launches in enumerate(values[:, :count]):
            interval = over_launches(launches)
            found[index, count - 1] = interval.high - interval.low <= width * interval.value
    return found


def fixed(narrow: Values) -> int:
    """The smallest count at which enough measurements are narrow, or the largest there is."""
    enough = np.flatnonzero(narrow.mean(axis=0) >= REACHED)
    return int(enough[0]) + 1 if enough.size else narrow.shape[1]


if __name__ == "__main__":
    sys.exit(main())
