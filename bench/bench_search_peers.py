"""Our search beside Optuna's samplers and Olive's search strategy, on the same replay and budget.

The problems are those of ``bench_search_replay``. One figure compares: the share of searches that
deliver a candidate which truly keeps the bound and whose objective is within 3 % of the best one's.
Peers have no verification: they deliver the best that was seen within the bound. Olive is run in an
environment of its own in the cache. Ends with 1 where ours is not ahead of a peer on a device, in
any aim. Optuna's Gaussian process takes a minute a search and is run where it is asked for.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from bench_search_replay import CONSOLE, Work
from bench_search_replay import run as run_ours
from rich.table import Table
from search_replay import ours, peers
from search_replay.devices import RECORDED, recorded
from search_replay.problem import AIMS, POOL, Aim, draw
from search_replay.runs import NEAR, Run, Total, judged, spread_out, total
from techniques.peers import olive_python

OURS = "distillfarm"
_SLOW = "Optuna GP"


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="searches a device, aim and peer")
    parser.add_argument("--slow-seeds", type=int, default=0, help=f"of {_SLOW}")
    parser.add_argument("--data", type=Path, default=RECORDED, help="FILE.npz of other devices")
    parser.add_argument("--pool", type=int, default=POOL, help="cells to choose from")
    parser.add_argument("--aim", action="append", choices=AIMS, help="repeatable; all by default")
    parser.add_argument("--cache", type=Path, default=Path(".distillfarm/bench"))
    parser.add_argument("--without-olive", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    cells, devices = recorded(options.data)
    python = None if options.without_olive else olive(options.cache)
    held = True
    names = [*peers.OPTUNA, *(peers.OLIVE if python else ())]
    with ProcessPoolExecutor(options.jobs) as pool:
        for aim in [AIMS[each] for each in options.aim or AIMS]:
            table = sheet(aim)
            for device in devices:
                work = Work(cells, device, aim, options.pool)
                seeds = range(options.seeds)
                mine = spread_out(pool, partial(run_ours, work), seeds)
                row(table, device.name, OURS, total(mine), "")
                for name in names:
                    some = seeds[: options.slow_seeds] if name == _SLOW else seeds
                    if not some:
                        continue
                    theirs = spread_out(pool, partial(run_peer, work, name, python), some)
                    ahead = total(mine[: len(theirs)]).near - total(theirs).near
                    held = held and ahead > 0
                    row(table, "", name, total(theirs), f"{ahead:+.0%}")
            CONSOLE.print(table)
    CONSOLE.print(f"aim: ahead of every peer on every device; {time.monotonic() - began:.0f} s")
    return int(not held)


def olive(cache: Path) -> Path | None:
    """The interpreter of Olive's environment; None, and a word why, where it cannot be made."""
    cache.mkdir(parents=True, exist_ok=True)
    try:
        return olive_python(cache.resolve(), CONSOLE.print)
    except OSError as error:
        CONSOLE.print(f"Olive is not here: {error}")
        return None


def run_peer(work: Work, name: str, python: Path | None, seed: int) -> Run:
    """One search of a peer."""
    problem = draw(work.cells, work.device, work.aim, seed, work.pool)
    budget = ours.budget_of(problem, work.share)
    if name in peers.OPTUNA:
        sampler = peers.OPTUNA[name](seed)
        return judged(problem, peers.search(problem, budget, peers.Optuna(problem, sampler)))
    if python is None:
        raise ValueError(f"{name} needs Olive's environment")
    strategy = peers.Olive(python, problem, peers.OLIVE[name], seed)
    delivered = peers.search(problem, budget, strategy)
    strategy.close()
    return judged(problem, delivered)


def sheet(aim: Aim) -> Table:
    """An empty table."""
    table = Table(title=f"{aim.value}, {ours.SHARE:.0%} of the launches of a grid with three each")
    for name in ("device", "search"):
        table.add_column(name)
    for name in ("runs", "launches", "violated", "nothing", "worse: mean", f"within {NEAR:.0%}"):
        table.add_column(name, justify="right")
    table.add_column("ours ahead by", justify="right")
    return table


def row(table: Table, device: str, name: str, found: Total, ahead: str) -> None:
    """One line."""
    table.add_row(
        device,
        name,
        str(found.runs),
        f"{found.share:.1%}",
        f"{found.violated:.0%}",
        f"{found.nothing:.0%}",
        f"{found.regret:.1%}",
        f"{found.near:.0%}",
        ahead,
    )


if __name__ == "__main__":
    sys.exit(main())
