"""Every technique on three public workloads, and what stock quantisers make of the same models.

Trains an FP32 teacher for each workload on one thread (Fashion-MNIST with a residual network,
Rotten Tomatoes with a transformer encoder, JapaneseVowels with a recurrent network), builds every
recipe through the product's workshop, and times each file against the FP32 file of its runtime, in
turns, in one process. Beside it the peers' defaults on the same files: ONNX Runtime,
ai-edge-quantizer and, in an environment of its own in the cache, Olive. Ends with 1 where a
workload's best recipe misses its aims at the allowed drop, or a peer's file has no row of ours that
is as small, as fast and as good.
"""

import argparse
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from techniques import baseline, judging, peers, tables
from techniques.building import Builder, Built
from techniques.judging import Judge, Match, Row
from techniques.recipes import ORIGINAL, RECIPES, Try
from techniques.teaching import SPLIT_SEED, Trained, prepared
from techniques.workloads import WORKLOADS

from distillfarm.compression.datasets import Samples, load_for_passes, load_test

CONSOLE = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)
CALIBRATION_SAMPLES = 256
"""As many as ``int8_static`` takes by itself."""
QUICK = 4
"""How many times shorter a smoke run trains its teachers."""


@dataclass(frozen=True)
class Findings:
    """All of one workload."""

    trained: Trained
    rows: tuple[Row, ...]
    matches: tuple[Match, ...]
    best: Row | None
    note: str = ""


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke run that judges nothing")
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--out", type=Path, action="append", default=[], help="FILE.json or .md")
    parser.add_argument("--cache", type=Path, default=Path(".distillfarm/bench"))
    parser.add_argument("--jobs", type=int, default=2, help="recipes built at a time")
    parser.add_argument("--rounds", type=int, default=60, help="pairs of timed blocks for a file")
    parser.add_argument("--noise", type=float, default=0.05, help="of speeds, against peers")
    parser.add_argument("--max-drop", type=float, default=2.0, help="points, for the best recipe")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(text: str) -> None:
        CONSOLE.print(f"{time.monotonic() - began:6.0f} s  {text}")

    found, sheets = [], []
    with TemporaryDirectory(prefix="bench-techniques-") as folder:
        for name in options.workload or WORKLOADS:
            found.append(examine(name, Path(folder) / name, options, say))
            for each in sheets_of(found[-1]):
                tables.show(CONSOLE, each)
                sheets.append(each)
            for path in options.out:
                tables.write(path, [row for one in found for row in one.rows], sheets)
    held = [verdict(each, options.max_drop) for each in found]
    say("done")
    return int(not (options.quick or all(held)))


def examine(name: str, folder: Path, options: argparse.Namespace, say: peers.Report) -> Findings:
    """Train, build, let the peers try, time and compare one workload."""
    workload = WORKLOADS[name]
    if options.quick:
        workload = replace(workload, epochs=workload.epochs // QUICK)
    trained = prepared(workload, options.cache, lambda text: say(f"{name}: {text}"))
    folder.mkdir()
    builder = Builder(trained, folder)
    tries = [each for each in RECIPES[name] if each.quick or not options.quick]

    def build(each: Try) -> Built:
        built = builder.build(each)
        said = built.refused or f"{built.size_bytes / 1e3:.1f} KB after {built.seconds:.0f} s"
        say(f"{name}: {each.runtime}: {each.recipe}: {said}")
        return built

    with ThreadPoolExecutor(options.jobs) as pool:
        built = list(pool.map(build, tries))
    originals = {each.runtime: each for each in built if each.recipe == ORIGINAL}
    for each in originals.values():
        if each.refused:
            raise SystemExit(f"{name}: nothing to compare with: {each.refused}")
    files = [] if options.without_peers else ask_peers(trained, originals, folder, options, say)
    say(f"{name}: timing and comparing {len(built) + len(files)} files")
    test = load_test(trained.data, workload.signature, SPLIT_SEED)
    judges = {
        runtime: Judge(workload, each, test, options.rounds) for runtime, each in originals.items()
    }
    rows = [judges[each.runtime].ours(each) for each in built]
    theirs = [judges[each.peer.runtime].theirs(each) for each in files]
    return Findings(
        trained,
        (*rows, *theirs),
        tuple(judging.match(each, rows, test.labels, options.noise) for each in theirs),
        judging.best(rows, workload, options.max_drop),
        linear(trained, test),
    )


def linear(trained: Trained, test: Samples) -> str:
    """What a linear model makes of the same texts, in words; nothing for other data."""
    workload = trained.workload
    if not workload.vocabulary:
        return ""
    train = load_for_passes(trained.data, workload.signature, SPLIT_SEED).train
    name = workload.signature.inputs[0].name
    share = baseline.accuracy(train, test, name, workload.vocabulary)
    return f"logistic regression on TF-IDF of the same words reaches {100 * share:.1f} %"


def ask_peers(
    trained: Trained,
    originals: dict[str, Built],
    folder: Path,
    options: argparse.Namespace,
    say: peers.Report,
) -> list[peers.PeerFile]:
    """Every peer's file from the same FP32 file and the same samples."""
    samples = load_for_passes(trained.data, trained.workload.signature, SPLIT_SEED).calibration
    calibration = folder / "calibration.npz"
    inputs = samples.take(slice(CALIBRATION_SAMPLES)).inputs
    np.savez(calibration, allow_pickle=False, **inputs)
    sources = {}
    for runtime, each in originals.items():
        sources[runtime] = folder / f"fp32.{each.format.value}"
        shutil.copyfile(each.path, sources[runtime])
    asked: list[tuple[peers.Peer, Path | None]] = [(each, None) for each in peers.STOCK]
    if not options.quick:
        try:
            olive = peers.olive_python(options.cache.resolve(), say)
            asked += [(each, olive) for each in peers.OLIVE]
        except OSError as error:
            say(f"Olive is not here: {error}")

    def ask(each: tuple[peers.Peer, Path | None]) -> peers.PeerFile:
        peer, python = each
        made = peers.quantised(peer, python, sources[peer.runtime], calibration, folder)
        say(f"{trained.workload.name}: {peer.name}: {made.failed or 'done'}")
        return made

    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(ask, [each for each in asked if each[0].runtime in sources]))


def sheets_of(found: Findings) -> list[tables.Sheet]:
    """The tables of one workload."""
    workload = found.trained.workload
    theirs = [each.peer.name for each in found.matches]
    sheets = []
    for runtime in dict.fromkeys(row.runtime for row in found.rows):
        ours = [row for row in found.rows if row.runtime == runtime and row.name not in theirs]
        title = f"{workload.name}: {workload.what}, {found.trained.parameters:,} parameters"
        sheets.append(tables.sheet(f"{title}; {runtime}", ours, found.note))
    if found.matches:
        sheets.append(tables.matches(f"{workload.name}: peers' defaults", found.matches))
    return sheets


def verdict(found: Findings, max_drop: float) -> bool:
    """Print whether the aims are met and no peer wins; True if so."""
    workload, chosen = found.trained.workload, found.best
    aims = f"{workload.min_smaller:g}x smaller, {workload.min_faster:g}x faster"
    ok = chosen is not None and judging.aims_met(chosen, workload, max_drop)
    if chosen is None or chosen.drop is None or chosen.faster is None:
        CONSOLE.print(
            f"{workload.name}: every recipe loses over {max_drop:g} points; MISSED {aims}"
        )
    else:
        drop = chosen.drop
        CONSOLE.print(
            f"{workload.name}: best at {max_drop:g} points: {chosen.name} on {chosen.runtime},"
            f" {chosen.smaller:.1f}x smaller, {chosen.faster.value:.1f}x faster, drop"
            f" {drop.value:.2f} points [{drop.low:.2f}, {drop.high:.2f}];"
            f" {'reaches' if ok else 'MISSES'} {aims}"
        )
    beaten = [each.peer.name for each in found.matches if not each.peer.refused and not each.ours]
    if beaten:
        CONSOLE.print(f"{workload.name}: no row of ours is as good as {', '.join(beaten)}")
    return ok and not beaten


if __name__ == "__main__":
    sys.exit(main())
