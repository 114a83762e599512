"""``distillfarm demo``: the main job on real data, from training a teacher to a signed bundle."""

import asyncio
import hashlib
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from distillfarm.cli.connection import run
from distillfarm.cli.console import harmless, messages, say
from distillfarm.cli.demo.progress import TrainingProgress
from distillfarm.cli.options import Connection, with_connection
from distillfarm.cli.sources import FunctionInFile
from distillfarm.cli.studies import finish
from distillfarm.cli.study_run import StudyRequest
from distillfarm.domain.errors import FarmError, MissingExtra
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Budget

SLA = "accuracy_drop<=2pt, warm_p90<=1ms, cold<=3s, peak_memory<=200MB, size<=200KB"
TARGETS = ("onnxruntime", "litert")
_FILES = resources.files("distillfarm.cli.demo")
_DECIDE = ("teacher.py", "train.py", "dataset.py", "fashion_mnist.npz")


@with_connection
def demo(
    *,
    connection: Connection,
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")] = Path("out/demo"),
    quick: Annotated[
        bool, typer.Option(help="Train and search less: about three minutes.")
    ] = False,
) -> None:
    """Train a small network, compress it, measure it here, and deliver a signed bundle.

    The data are 22,000 images of Fashion-MNIST (MIT). A second run finds the teacher and the
    compressed variants in --state-dir and only measures again.
    """
    if find_spec("torch") is None:
        raise MissingExtra(
            "PyTorch is not installed; run: pip install 'distillfarm[agent,controller,compression]'"
        )
    folder = run(prepare(connection.state_dir, epochs=2 if quick else 6))
    sla, trials = SLA, 2 if quick else 5
    say(
        f"the same by hand: distillfarm study run --model {folder / 'teacher.pt'} "
        f"--factory {folder / 'teacher.py'}:build --data {folder / 'data.npz'} --sla '{sla}' "
        f"{' '.join(f'--target {each}' for each in TARGETS)} --trials {trials} --again --out {out}"
    )
    request = StudyRequest(
        name="fashion-mnist",
        model=folder / "teacher.pt",
        factory=FunctionInFile(folder / "teacher.py", "build"),
        data=folder / "data.npz",
        evaluator=None,
        sla=parse_sla(sla),
        targets=tuple(map(parse_target, TARGETS)),
        selector="platform=host",
        budget=Budget(trials_per_target=trials),
        seed=0,
        again=True,
    )
    finish(connection, request, out, as_json=False)


async def prepare(state_dir: Path, epochs: int) -> Path:
    """The folder with data, factory and trained weights; made once for this code and data."""
    folder = state_dir / "demo" / f"{_fingerprint()}-{epochs}"
    if (folder / "teacher.pt").exists():
        say(f"teacher: found trained in {folder}")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    say("data: unpacking 22,000 images of Fashion-MNIST")
    from distillfarm.cli.demo.dataset import write_dataset  # noqa: PLC0415  loads NumPy

    await asyncio.to_thread(write_dataset, folder / "data.npz")
    (folder / "teacher.py").write_bytes((_FILES / "teacher.py").read_bytes())
    await _train(folder, epochs)
    return folder


async def _train(folder: Path, epochs: int) -> None:
    unfinished = folder / "teacher.unfinished"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "distillfarm.cli.demo.train"),
        *(str(folder / "data.npz"), str(unfinished), str(epochs)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        with _TrainingProgress() as progress:
            while process.stdout and (line := await process.stdout.readline()):
                progress.show(msgspec.json.decode(line, type=TrainingProgress))
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        raise FarmError(f"training the teacher ended with code {code}; its reason stands above")
    unfinished.replace(folder / "teacher.pt")


class _TrainingProgress(Progress):
    """A bar on a terminal, the end of every epoch as a line elsewhere."""

    def __init__(self) -> None:
        console = messages()
        super().__init__(
            TextColumn("training the teacher", style="bold"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._training = self.add_task("", total=1.0)

    def show(self, progress: TrainingProgress) -> None:
        line = harmless(progress.text)
        self.update(self._training, completed=progress.fraction, description=line)
        if self.disable and "accuracy" in line:
            say(f"training the teacher: {line}")


def _fingerprint() -> str:
    """Changes with everything that decides the teacher's weights."""
    content = b"".join((_FILES / name).read_bytes() for name in _DECIDE)
    return hashlib.sha256(content).hexdigest()[:12]
