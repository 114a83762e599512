"""How long a phone is idle between two jobs, and with what the time passes.

Two jobs follow each other on one stand-in phone, through the agent's own jobs, execution and
driver. The gap runs from the last sample of the first, when its process writes its last words, to
the start of the second's process; both are read from the phone's own files. Every command to the
phone in between is one round trip, told by what it is for; the agent's own work is the rest. The
peer in the same run is a bare ``adb shell true``: the emulator makes every program that starts on
the phone slow, so the gap is told in bare round trips as well. Ends with 1 when there are more
commands, or the gap is longer in bare round trips, than the limit.
"""

import argparse
import asyncio
import logging
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "standins"))

import structlog
from android_phone import Lab, Phone
from phone_station import Station
from rich.console import Console
from rich.table import Table
from standin_phones import phone_lab

from distillfarm.agent.drivers.android import shell
from distillfarm.domain.measurement import Outcome

CONSOLE = Console(width=100)
# What stands in a command, and what it is for; the first that fits.
STAGES = (
    ("dumpsys battery", "state: context and gates"),
    ("getprop", "link and build"),
    ("/proc/uptime", "clock"),
    ("setsid", "start"),
    ("sha256sum", "files"),
    ("stat -c", "files"),
    ("settings ", "settings"),
    ("/proc/[0-9]", "sweeping up"),
    ("read -r c", "end of the launch"),
)
REST = "the agent itself"


@dataclass(frozen=True)
class Trip:
    """A command to the phone; Unix times."""

    stage: str
    began_s: float
    ended_s: float


class Watch(threading.Thread):
    """Sees when launches begin and end, by the files of their jobs on the phone."""

    def __init__(self, phone: Phone) -> None:
        super().__init__(daemon=True)
        self._folder = phone.data / "distillfarm-jobs"
        self._done = threading.Event()
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def run(self) -> None:
        """Look until told to stop."""
        while not self._done.wait(0.01):
            for job in self._folder.glob("*"):
                self._note(job)

    def stop(self) -> None:
        """End it."""
        self._done.set()
        self.join()

    def _note(self, job: Path) -> None:
        try:
            self.began.setdefault(job.name, (job / "pid").stat().st_mtime)
            self.ended[job.name] = (job / "out").stat().st_mtime
        except OSError:
            # It has just begun, or was just removed.
            return


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4, help="jobs that follow another")
    parser.add_argument("--most-trips", type=int, default=16, help="commands in a gap")
    parser.add_argument("--most-bare", type=float, default=150.0, help="the gap in bare trips")
    options = parser.parse_args()
    # A line for every job would bury the table.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with phone_lab() as (started, programs), tempfile.TemporaryDirectory() as folder:
        station = Station(started, started.phones[0], programs, Path(folder))
        gaps, trips, bare_s = asyncio.run(measure(station, options.pairs))
    return report(gaps, trips, bare_s, options)


async def measure(
    station: Station, pairs: int
) -> tuple[list[tuple[float, float]], list[Trip], list[float]]:
    """The gaps, every command to the phone, and what bare round trips took meanwhile."""
    probed = await station.known()
    watch = Watch(station.phone)
    with recorded() as trips:
        watch.start()
        try:
            for _ in range(pairs + 1):
                result = await station.measure(probed, iterations=20, max_sampling_s=0.5)
                found = result.measurement
                if found is None or found.outcome is not Outcome.OK:
                    raise SystemExit(f"a job failed: {result.error or found}")
        finally:
            watch.stop()
    bare_s = [bare_trip_s(station.lab, station.phone) for _ in range(10)]
    ended = sorted(watch.ended.values())
    return list(zip(ended, sorted(watch.began.values())[1:], strict=False)), trips, bare_s


@contextmanager
def recorded() -> Iterator[list[Trip]]:
    """Every command that goes to the phone."""
    trips: list[Trip] = []
    run = shell.run

    def recording(device: Any, command: str, *arguments: Any, **named: Any) -> shell.ShellResult:
        began_s = time.time()
        try:
            return run(device, command, *arguments, **named)
        finally:
            trips.append(Trip(stage(command), began_s, time.time()))

    with mock.patch.object(shell, "run", recording):
        yield trips


def stage(command: str) -> str:
    """What a command is for."""
    return next((name for words, name in STAGES if words in command), "other")


def bare_trip_s(lab: Lab, phone: Phone) -> float:
    """Seconds of ``adb shell true``."""
    began_s = time.perf_counter()
    subprocess.run(["adb", "-s", phone.address, "shell", "true"], env=lab.environment, check=True)
    return time.perf_counter() - began_s


def covered_s(trips: list[Trip], begin_s: float, end_s: float) -> float:
    """For how long at least one command ran; some run beside others."""
    total_s, until_s = 0.0, begin_s
    for each in sorted(trips, key=lambda trip: trip.began_s):
        upto_s = min(each.ended_s, end_s)
        total_s += max(0.0, upto_s - max(each.began_s, until_s))
        until_s = max(until_s, upto_s)
    return total_s


def report(
    gaps: list[tuple[float, float]],
    trips: list[Trip],
    bare_s: list[float],
    options: argparse.Namespace,
) -> int:
    """Print the table; 1 when a limit is passed."""
    bare = statistics.median(bare_s)
    counts: dict[str, list[int]] = defaultdict(list)
    shares: dict[str, list[float]] = defaultdict(list)
    totals = []
    for begin_s, end_s in gaps:
        inside = [each for each in trips if begin_s < each.ended_s and each.began_s < end_s]
        totals.append(len(inside))
        for name in dict.fromkeys(name for _, name in STAGES):
            own = [each for each in inside if each.stage == name]
            taken_s = sum(min(each.ended_s, end_s) - max(each.began_s, begin_s) for each in own)
            counts[name].append(len(own))
            shares[name].append(taken_s)
        shares[REST].append(end_s - begin_s - covered_s(inside, begin_s, end_s))
    gap_s = statistics.median(end_s - begin_s for begin_s, end_s in gaps)
    table = Table(title=f"idle gap between two jobs on a stand-in phone, {len(gaps)} gaps, medians")
    for column in ("", "round trips", "seconds", "in bare round trips"):
        table.add_column(column, justify="right" if column else "left")
    for name, taken in sorted(shares.items(), key=lambda each: -statistics.median(each[1])):
        taken_s = statistics.median(taken)
        count = f"{statistics.median(counts[name]):g}" if name in counts else ""
        table.add_row(name, count, f"{taken_s:.2f}", f"{taken_s / bare:.1f}")
    most = statistics.median(totals)
    table.add_row("the gap", f"{most:g}", f"{gap_s:.2f}", f"{gap_s / bare:.1f}", style="bold")
    CONSOLE.print(table)
    CONSOLE.print(
        f"bare round trip {bare:.3f} s; limits {options.most_trips} round trips, "
        f"{options.most_bare:g} bare round trips' time"
    )
    return int(most > options.most_trips or gap_s / bare > options.most_bare)


if __name__ == "__main__":
    sys.exit(main())
