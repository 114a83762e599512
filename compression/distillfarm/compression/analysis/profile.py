"""How long each layer takes on this computer, in the words of the runtime that runs it."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

_MIN_RUNS, _MAX_RUNS = 5, 50
_MAX_PROFILED = 20
_NANOSECONDS = 1000


@dataclass(frozen=True)
class Runs:
    """How often to run: until ``seconds`` are over, at least 5 and at most 50 times."""

    seconds: float = 2.0
    threads: int = 1

    def profiled(self, done: int) -> int:
        """How many of as many runs are profiled, which costs more."""
        return max(_MIN_RUNS, min(done, _MAX_PROFILED))


@dataclass(frozen=True)
class Timed:
    """Microseconds by layer, from ``runs`` inferences, and of whole inferences.

    ``elsewhere_us`` is time that belongs to no layer of the model: what the runtime added.
    """

    layers_us: Mapping[str, float]
    runs: int
    whole_us: Sequence[float]
    profiler: str
    elsewhere_us: float = 0.0
    missing: str = ""

    def said(self) -> str:
        """Where the times come from, in one sentence."""
        host = f"this computer ({os.cpu_count()} {platform.machine()} cores)"
        whole = f"a whole inference takes {median(self.whole_us):.0f} us" if self.whole_us else ""
        if self.missing:
            reason = f"no time by layer: {self.missing}"
            return f"{reason}; on {host} {whole}, no phone's time" if whole else reason
        elsewhere = (
            f"; {self.elsewhere_us:.0f} us belong to operators that the runtime added"
            if self.elsewhere_us >= 1
            else ""
        )
        return (
            f"{self.profiler}, middle half of {self.runs} runs on {host}, no phone's time;"
            f" without the profiler {whole}{elsewhere}"
        )


def timed_runs(run: Callable[[], object], runs: Runs) -> list[float]:
    """Microseconds of each whole inference, after one to warm up."""
    run()
    found: list[float] = []
    started_s = time.monotonic()
    while len(found) < _MIN_RUNS or (
        len(found) < _MAX_RUNS and time.monotonic() - started_s < runs.seconds
    ):
        before_ns = time.perf_counter_ns()
        run()
        found.append((time.perf_counter_ns() - before_ns) / _NANOSECONDS)
    return found


def middle(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """For every name the mean of the middle half of the runs, of which profilers give whole us.

    As little moved by a run that was disturbed as the median, and finer.
    """
    names = dict.fromkeys(name for sample in samples for name in sample)
    cut = len(samples) // 4
    found = {}
    for name in names:
        values = sorted(sample.get(name, 0.0) for sample in samples)
        found[name] = mean(values[cut : len(values) - cut])
    return found
