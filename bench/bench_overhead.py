"""Warm latency as the farm measures it, against a bare loop on the same runtime.

The farm's side is a whole job: gates left out, everything else as in production, ``run_job`` with
the host driver and the runner. The peer is a plain script that loads the same model, binds the
same inputs and times the same call, started as an ordinary process. Launches alternate, the side
that begins too; each launch gives one median, each pair one ratio. Ends with 1 when the median of
the ratios is further from 1 than the limit.
"""

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "standins"))

from launches import GOLDEN, LEASE, probed, request
from rich.console import Console
from rich.progress import track
from rich.table import Table

from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.execution import run_job
from distillfarm.agent.plugins import runner
from distillfarm.domain.agent import Assign
from distillfarm.domain.measurement import Outcome

CONSOLE = Console()
MODELS = {"onnxruntime/cpu": "cnn.onnx", "litert/xnnpack": "cnn.tflite"}
WARM_UP = 50

_LOOP = """
import statistics, sys, time
import numpy as np
path, count, warm_up = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
{load}
for _ in range(warm_up + 1):
    infer({argument})
samples = []
for _ in range(count):
    begin = time.perf_counter_ns()
    infer({argument})
    samples.append(time.perf_counter_ns() - begin)
print(statistics.median(samples))
"""
_ORT = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
image = np.cos(np.arange(784.0)).reshape(1, 1, 28, 28).astype(np.float32)
binding = session.io_binding()
binding.bind_cpu_input("image", image)
binding.bind_output("logits", "cpu")
infer = session.run_with_iobinding
"""
_LITERT = """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=path, num_threads=1)
interpreter.allocate_tensors()
image = np.cos(np.arange(784.0)).reshape(1, 28, 28, 1).astype(np.float32)
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
infer = interpreter.invoke
"""
BARE = {
    "onnxruntime/cpu": _LOOP.format(load=_ORT, argument="binding"),
    "litert/xnnpack": _LOOP.format(load=_LITERT, argument=""),
}


async def main() -> int:
    """Measure every runtime, print the table, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="launches on each side")
    parser.add_argument("--iterations", type=int, default=2000, help="inferences a launch")
    parser.add_argument("--limit", type=float, default=1.0, help="allowed difference, percent")
    asked = parser.parse_args()
    table = Table("runtime", "farm us", "bare us", "ratio", "95 %", "A/A", "within")
    broken = False
    for target in MODELS:
        farm, bare, again = await measure(target, asked.pairs, asked.iterations)
        ratios = [left / right for left, right in zip(farm, bare, strict=True)]
        ratio = statistics.median(ratios)
        same = statistics.median(left / right for left, right in zip(again, bare, strict=True))
        low, high = interval(ratios)
        ok = abs(ratio - 1) * 100 <= asked.limit
        broken |= not ok
        table.add_row(
            target,
            f"{statistics.median(farm) / 1e3:.2f}",
            f"{statistics.median(bare) / 1e3:.2f}",
            f"{ratio:.4f}",
            f"{low:.3f}-{high:.3f}",
            f"{same:.4f}",
            f"{'yes' if ok else 'NO'} ({asked.limit:g} %)",
        )
    CONSOLE.print(table)
    CONSOLE.print(
        "medians over launches of the launch's p50; ratio and its 95 % interval over pairs; "
        "A/A: a second bare loop against the first, the noise of this computer now"
    )
    return int(broken)


async def measure(target: str, pairs: int, iterations: int) -> tuple[list[float], ...]:
    """Launch medians in ns: through the farm, bare, and bare once more for the noise."""
    sides: tuple[list[float], ...] = ([], [], [])
    for index in track(range(pairs), description=target, console=CONSOLE):
        # The order changes, so that none always follows the same other.
        for side in ((0, 1, 2), (1, 2, 0), (2, 0, 1))[index % 3]:
            median_ns = await (
                farm_ns(target, iterations) if side == 0 else bare_ns(target, iterations)
            )
            sides[side].append(median_ns)
    return sides


async def farm_ns(target: str, iterations: int) -> float:
    """The median of one launch through the farm's execution path."""
    job, files = request(
        GOLDEN / MODELS[target],
        target,
        launches=1,
        max_warmup=WARM_UP,
        iterations=iterations,
        max_sampling_s=30.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        device = probed(HostDriver(Path(folder) / "host"))
        measurement = await run_job(
            device, runner(job.target.runtime), Assign(LEASE, job), files, lambda *_: None
        )
    if measurement.outcome is not Outcome.OK:
        raise RuntimeError(f"{target}: {measurement.outcome.value}: {measurement.reason}")
    return statistics.median(measurement.launches[0].samples_ns)


async def bare_ns(target: str, iterations: int) -> float:
    """The median of one run of the plain script."""
    command = [sys.executable, "-c", BARE[target], str(GOLDEN / MODELS[target])]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, str(iterations), str(WARM_UP)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def interval(ratios: list[float]) -> tuple[float, float]:
    """Bootstrap bounds of the median, 95 %."""
    chance = random.Random(0)  # noqa: S311
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[-51]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
