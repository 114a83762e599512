"""How often the 95 % interval over launches holds the true median of a device's launches.

Measurements of 5 to 30 launches are drawn from recorded launches and from distributions of every
shape. Beside it what is usual elsewhere: Student's interval over the samples inside one launch,
and a mean with 1.96 standard errors over launches, each asked for the same median. Ends with 1
where the interval holds it in less than 93 % or more than 97 % of a population's measurements.
"""

import os
import sys
import zlib

# One thread: nothing here gains by more. It must be said before NumPy loads.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import statistics_replay.report as replay
from statistics_replay.populations import RECORDED, Population, Values, alike, recorded, shapes

from distillfarm.statistics.intervals import over_launches

LAUNCHES = (5, 6, 7, 8, 10, 15, 20, 30)
BETWEEN = (0.93, 0.97)
SAMPLES = 100
WITHIN = 0.03


def main() -> int:
    """Run it; the exit status."""
    parser = replay.options(str(__doc__), RECORDED)
    parser.add_argument("--measurements", type=int, default=1000, help="of each size")
    asked = parser.parse_args()
    promised = [*recorded(asked.launches), *shapes()]
    rows = [row(each, asked.measurements, asked.seed, promised=True) for each in promised]
    beyond = [alike(correlation) for correlation in (0.3, 0.5)]
    rows += [row(each, asked.measurements, asked.seed, promised=False) for each in beyond]
    columns = ("launches of", "n = 2", "3", "4", "5", "10", "30", "5 to 30", "in one", "normal")
    kept = replay.report("share of 95 % intervals that hold the median, %", columns, rows)
    replay.CONSOLE.print(
        f"aim: {BETWEEN[0]:.0%} to {BETWEEN[1]:.0%} over 5 to 30 launches; n = 2 to 4 is a "
        f"fallback that assumes a lognormal; in one: over {SAMPLES} samples of one launch, which "
        f"spread by {WITHIN:.0%}; normal: mean and 1.96 standard errors over 10 launches"
    )
    return 0 if kept else 1


def row(population: Population, measurements: int, seed: int, *, promised: bool) -> replay.Row:
    """The coverage of one population, drawn alike whatever else is in the table."""
    chance = np.random.default_rng([seed, zlib.crc32(population.name.encode())])
    held = {
        count: covered(population, population.draw(chance, (measurements, count)))
        for count in (2, 3, 4, *LAUNCHES)
    }
    overall = float(np.mean([held[count] for count in LAUNCHES]))
    shown = [held[count] for count in (2, 3, 4, 5, 10, 30)]
    others = inside_one_launch(population, chance), normal(population, chance)
    cells = [f"{100 * share:.1f}" for share in (*shown, overall, *others)]
    kept = BETWEEN[0] <= overall <= BETWEEN[1] if promised else None
    return replay.Row((population.name, *cells), kept)


def covered(population: Population, drawn: Values) -> float:
    """The share of the measurements (rows) whose interval holds the population's median."""
    intervals = [over_launches(each) for each in drawn]
    return float(np.mean([each.low <= population.median <= each.high for each in intervals]))


def inside_one_launch(population: Population, chance: np.random.Generator) -> float:
    """Student's interval over samples of one launch, whose spread is not the one that matters."""
    launches = population.draw(chance, (4000, 1))
    samples = launches * np.exp(WITHIN * chance.standard_normal((4000, SAMPLES)))
    return within_errors(population, samples, 1.984)


def normal(population: Population, chance: np.random.Generator) -> float:
    """The mean of 10 launches with 1.96 standard errors."""
    return within_errors(population, population.draw(chance, (4000, 10)), 1.96)


def within_errors(population: Population, values: Values, errors: float) -> float:
    """The share of rows whose mean is within so many standard errors of the median."""
    standard_error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    distance = np.abs(values.mean(axis=1) - population.median)
    return float(np.mean(distance <= errors * standard_error))


if __name__ == "__main__":
    sys.exit(main())
