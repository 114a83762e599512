"""The phone's native runner, built for this computer and run on it."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ai_edge_litert
import msgspec
import onnxruntime

from distillfarm.agent.program.order import Order
from distillfarm.agent.runners import reports

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "agent" / "phone" / "android"
FLAVOUR = "glibc-x86_64"
ONNXRUNTIME = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
LITERT = Path(ai_edge_litert.__path__[0]) / "libLiteRt.so"

_DECODER: msgspec.json.Decoder[reports.Event] = msgspec.json.Decoder(reports.Event)


@dataclass(frozen=True)
class Said:
    """What a program answered, and how it ended."""

    events: tuple[reports.Event, ...]
    code: int
    stdout: bytes
    stderr: str

    @property
    def last(self) -> reports.Event:
        """The answer that decides."""
        return self.events[-1]

    @property
    def finished(self) -> reports.Finished:
        """The last answer of a launch that ran to its end."""
        assert isinstance(self.last, reports.Finished), (self.last, self.stderr)
        return self.last

    @property
    def reason(self) -> str:
        """Why the launch ended early."""
        assert not isinstance(self.last, reports.Finished), self.last
        return str(getattr(self.last, "reason", ""))


def order(runtime: str, delegate: str, model: Path, **settings: object) -> Order:
    """A short launch."""
    short = Order(runtime, delegate, str(model), "", "", 1, 10, 10, 0.5)
    return short._replace(**settings)  # type: ignore[arg-type]


def build(folder: Path) -> Path:
    """The runner, built once for all workers of a test run."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make = ["make", "-s", "-C", str(SOURCE), f"FLAVOUR={FLAVOUR}", f"PYTHON={sys.executable}"]
        subprocess.run([*make, f"OUT={folder}"], check=True, timeout=240)
    return folder / "distillfarm-runner"


def run(runner: Path, library: Path, ordered: Order, **environment: str) -> Said:
    """Run the native runner."""
    arguments = [*ordered.to_arguments(), f"library={library}", "version="]
    return run_with(runner, arguments, **environment)


def run_with(runner: Path, arguments: Sequence[str | bytes], **environment: str) -> Said:
    """Run the native runner with exactly these arguments."""
    return _decoded([runner, *arguments], environment)


def run_twin(ordered: Order) -> Said:
    """Run the Python program that the native runner is the twin of."""
    command = [sys.executable, "-I", "-m", "distillfarm.agent.program", *ordered.to_arguments()]
    return _decoded(command, {"DISTILLFARM_LAUNCH_NS": str(time.perf_counter_ns())})


def _decoded(command: Sequence[str | bytes | Path], environment: dict[str, str]) -> Said:
    clean = {name: value for name, value in os.environ.items() if "DISTILLFARM" not in name}
    done = subprocess.run(
        command, env=clean | environment, capture_output=True, timeout=60, check=False
    )
    events = tuple(_DECODER.decode(line) for line in done.stdout.splitlines())
    return Said(events, done.returncode, done.stdout, done.stderr.decode(errors="replace"))
