"""A live study on this computer: what the search finds, against a full grid of the same candidates.

Trains the demonstration's network shortly, has a study search compressed variants of it, and then
measures every variant that the study built three times, in rounds, as a grid would, and the best of
the grid anew. Where both disagree their winners are launched in turn and compared. Ends with 1 when
the search's winner is slower than the grid's beyond noise.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from distillfarm.cli import demonstration, study_run
from distillfarm.cli.connection import connected
from distillfarm.cli.options import Connection
from distillfarm.cli.sources import FunctionInFile
from distillfarm.cli.study_progress import StudyProgress
from distillfarm.cli.study_run import Finished, StudyRequest
from distillfarm.client import Client
from distillfarm.client.measuring import run_job
from distillfarm.controller.evidence import launched
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.ids import fresh_id
from distillfarm.domain.job import JobRequest, MeasureSpec, Rival
from distillfarm.domain.measurement import Comparison, Finding, Measurement, Outcome
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.sla import format_bound, parse_sla
from distillfarm.domain.study import Budget, Choice, Metric, Sla, StudySpec, Trial
from distillfarm.domain.variant import Exported
from distillfarm.statistics.summary import launch_values

CONSOLE = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
QUANTISERS = ("int8_static", "int8_dynamic", "fp16")
CUTS = tuple(f"prune(epochs=1,ratio={ratio})" for ratio in (0.3, 0.5, 0.7))
RECIPES = (*QUANTISERS, *CUTS, *(f"{cut}+{tail}" for cut in CUTS for tail in QUANTISERS))
TARGETS = ("onnxruntime", "litert")
SLA = "accuracy_drop<=3pt, warm_p90<=1ms, cold<=5s, size<=300KB"
REPEATS, LAUNCHES, FINAL_LAUNCHES, PAIRS = 3, 3, StudySpec.final_launches, 24
FINALISTS = 2


@dataclass
class Gridded:
    """What the grid measured: launches of every candidate, and what that took."""

    shown: dict[str, list[Measurement]] = field(default_factory=dict)
    launches: int = 0
    device_s: float = 0.0

    def add(self, trial: Trial, measurement: Measurement) -> None:
        """One measurement more."""
        self.launches += len(measurement.launches)
        self.device_s += measurement.device_s
        self.shown.setdefault(trial.trial_id, []).append(measurement)

    def ranked(self, trials: Sequence[Trial], sla: Sla) -> list[Trial]:
        """Those that keep every bound by their estimates, the fastest first."""
        able = [each for each in trials if self._keeps(each, sla)]
        return sorted(able, key=lambda each: self._estimate(each, Metric.WARM_P90))

    def _keeps(self, trial: Trial, sla: Sla) -> bool:
        measured = self.shown.get(trial.trial_id, [])
        ran = bool(measured) and all(each.outcome is Outcome.OK for each in measured)
        return ran and all(self._estimate(trial, e.metric) <= e.limit for e in sla.bounds)

    def _estimate(self, trial: Trial, metric: Metric) -> float:
        exported = built(trial)
        if metric is Metric.ACCURACY_DROP:
            return exported.quality_drop.value
        if metric is Metric.SIZE:
            return float(exported.artifact.size_bytes)
        launches = [each for one in self.shown[trial.trial_id] for each in one.launches]
        return float(np.median(launched(metric, launch_values(launches)) or [np.inf]))


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", action="append", help=f"default: {len(RECIPES)} of them")
    parser.add_argument("--target", action="append", help=f"default: {', '.join(TARGETS)}")
    parser.add_argument("--epochs", type=int, default=2, help="for which the network is trained")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="bench-search-live-") as folder:
        return asyncio.run(run(Path(folder), options))


async def run(folder: Path, options: argparse.Namespace) -> int:
    """Search, then the grid, then the comparison of their winners."""
    connection = Connection("", "", None, folder)
    request = await asked(folder, options)
    async with connected(connection, start=True, worker=True) as client:
        began_s = time.monotonic()
        finished = await searched(client, request)
        search_s = time.monotonic() - began_s
        (choice,) = finished.study.choices
        chosen = next((e for e in finished.trials if e.trial_id == choice.trial_id), None)
        trials = [
            each
            for each in finished.trials
            if each.exported is not None and not each.final and not each.reference
        ]
        began_s = time.monotonic()
        grid, best = await gridded(client, trials, request.sla)
        grid_s = time.monotonic() - began_s
        if chosen is None or best is None:
            CONSOLE.print(f"nothing to compare: {choice.why}")
            return 1
        rival = None
        if chosen.candidate != best.candidate:
            rival = await duel(client, best, chosen)
    show(choice, grid, len(trials), (search_s, grid_s))
    return told(chosen, best, rival)


async def asked(folder: Path, options: argparse.Namespace) -> StudyRequest:
    """The study: the demonstration's network, and recipes that take little training."""
    demo = await demonstration.prepare(folder, options.epochs)
    recipes = tuple(map(parse_recipe, options.recipe or RECIPES))
    return StudyRequest(
        name="search-live",
        model=demo / "teacher.pt",
        factory=FunctionInFile(demo / "teacher.py", "build"),
        data=demo / "data.npz",
        evaluator=None,
        sla=parse_sla(SLA),
        targets=tuple(map(parse_target, options.target or TARGETS)),
        selector="platform=host",
        budget=Budget(len(recipes), 1800.0),
        seed=0,
        recipes=recipes,
    )


async def searched(client: Client, request: StudyRequest) -> Finished:
    """The study to its end."""
    study = await study_run.submit(client, request)
    with StudyProgress() as progress:
        study = await study_run.follow(client, study.study_id, progress.show)
    return await study_run.results(client, study)


async def gridded(
    client: Client, trials: Sequence[Trial], sla: Sla
) -> tuple[Gridded, Trial | None]:
    """Every candidate ``REPEATS`` times, in rounds, and the best of them anew."""
    grid = Gridded()
    for repeat in range(REPEATS):
        CONSOLE.print(f"grid: round {repeat + 1} of {REPEATS} over {len(trials)} candidates")
        await measure(client, trials, LAUNCHES, grid)
    finals = Gridded()
    finalists = grid.ranked(trials, sla)[:FINALISTS]
    await measure(client, finalists, FINAL_LAUNCHES, finals)
    winners = finals.ranked(finalists, sla) or finalists
    return grid, winners[0] if winners else None


async def measure(client: Client, trials: Sequence[Trial], launches: int, into: Gridded) -> None:
    """One measurement of each, one after the other as there is one computer."""
    for each in trials:
        job = await run_job(client, requested(each, launches), None)
        measurement, _ = await client.measurement(job.measurement_id)
        if measurement.outcome is not Outcome.OK and each.trial_id not in into.shown:
            outcome = f"{measurement.outcome.value}: {measurement.reason}"
            CONSOLE.print(f"  {each.candidate} is {outcome}")
        into.add(each, measurement)


async def duel(client: Client, best: Trial, chosen: Trial) -> Comparison:
    """The search's winner against the grid's, launched in turn."""
    CONSOLE.print(f"the winners differ: {PAIRS} launches of each in turn")
    exported = built(chosen)
    rival = Rival(
        exported.artifact,
        chosen.candidate.target,
        exported.inputs_digest,
        exported.expected_digest,
        exported.tolerance,
    )
    job = await run_job(client, requested(best, PAIRS, rival), None)
    compared = await client.comparison(job.measurement_id)
    return next(e for e in compared.comparisons if e.metric == Metric.WARM_P90.value)


def requested(trial: Trial, launches: int, rival: Rival | None = None) -> JobRequest:
    """A job of its own, so that nothing of the study's stands in for it."""
    exported = built(trial)
    spec = MeasureSpec(
        launches=launches,
        inputs_digest=exported.inputs_digest,
        expected_digest=exported.expected_digest,
        tolerance=exported.tolerance,
    )
    target = trial.candidate.target
    return JobRequest(
        fresh_id("key"), exported.artifact, target, "platform=host", spec, rival=rival
    )


def built(trial: Trial) -> Exported:
    """The artifact of a trial that was built."""
    if trial.exported is None:
        raise ValueError(f"{trial.candidate} was not built")
    return trial.exported


def show(choice: Choice, grid: Gridded, candidates: int, wall_s: tuple[float, float]) -> None:
    """What both spent to find the best, the verification of either left out."""
    spent = choice.spent
    if spent is None:
        return
    table = Table(title=f"{candidates} candidates on {choice.chipset}")
    for head in ("", "launches", "measurements", "not launched", "seconds"):
        table.add_column(head, justify="right" if head else "left")
    measured = sum(map(len, grid.shown.values()))
    table.add_row("full grid", str(grid.launches), str(measured), "0", f"{wall_s[1]:.0f}")
    table.add_row(
        "search",
        str(spent.launches),
        str(spent.measurements),
        str(spent.skipped),
        f"{wall_s[0]:.0f} with building",
    )
    CONSOLE.print(table)
    share = spent.launches / max(grid.launches, 1)
    CONSOLE.print(
        f"the search made {share:.0%} of the grid's launches; {spent.final_launches} more judged"
        " its winner and the originals beside it"
    )
    for each in choice.verdict.bounds:
        CONSOLE.print(f"  {format_bound(each.bound)}: {each.verdict.value}, {each.reason}")


def told(chosen: Trial, best: Trial, rival: Comparison | None) -> int:
    """Whether the search's winner is as good; the exit status."""
    CONSOLE.print(f"full grid: {best.candidate}\nsearch:    {chosen.candidate}")
    if rival is None:
        CONSOLE.print("the same winner")
        return 0
    ratio = rival.ratio
    CONSOLE.print(
        f"in turn: the search's takes {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] of the"
        f" grid's warm p90 over {rival.launches} pairs: {rival.finding.value.replace('_', ' ')}"
    )
    return int(rival.finding is Finding.SLOWER)


if __name__ == "__main__":
    sys.exit(main())
