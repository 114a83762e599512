"""Starts, kills and watches the processes of a toy farm."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import farm_samples
import msgspec
import toy_farm
from toy_farm import Toy

from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.study import Budget, Study, StudyEvent, StudySpec, Trial
from distillfarm.wire.blobs import LocalBlobs

_DEADLINE_S = 600.0  # for real trainings on a machine that has other work too


class ToyProcesses:
    """A controller and workers over one folder; everything is dead after the ``with``."""

    def __init__(self, folder: Path, toy: Toy = Toy()) -> None:  # noqa: B008 - it is frozen
        self.folder = folder
        (folder / "toy.json").write_bytes(msgspec.json.encode(toy))
        self.blobs = LocalBlobs(folder / "blobs")
        self.store = toy_farm.store(folder)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self._processes):
            self.kill(name)
        self.store.close()

    def start(self, *names: str) -> None:
        """Start ``controller``, ``compressor`` (a real worker) or toy workers by their names."""
        for name in names:
            side = name if name in ("controller", "compressor") else "worker"
            with (self.folder / f"{name}.err").open("ab") as errors:
                self._processes[name] = subprocess.Popen(
                    [sys.executable, toy_farm.__file__, side, str(self.folder)],
                    env={**os.environ, "TOY_WORKER": name},
                    stderr=errors,
                    stdout=errors,
                )

    def kill(self, name: str) -> None:
        """Kill -9."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM, and wait; gives the exit code."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=60)

    def create(
        self, study_id: str, trials: int = 3, seed: int = 0, recipes: Sequence[str] = ()
    ) -> StudySpec:
        """Put a study of a made-up model into the store, where the controller finds it."""
        digest = self.blobs.put_bytes(b"x" * 4000)
        spec = replace(
            farm_samples.study_spec("toy"),
            model=SourceModel(ArtifactRef(digest, 4000, ModelFormat.ONNX, "toy.onnx")),
            data=Dataset(digest),
            budget=Budget(trials, 600.0),
            seed=seed,
            final_launches=4,
            recipes=tuple(map(parse_recipe, recipes)),
        )
        self.store.create_study(study_id, spec, time.time())
        return spec

    def wait_final(self, study_id: str) -> Study:
        """Wait until a study is over."""
        self.wait(lambda: self.store.study(study_id).state.final, f"the end of {study_id}")
        return self.store.study(study_id)

    def wait_line(self, part: str) -> None:
        """Wait until the log has a line with ``part``."""
        self.wait(lambda: any(part in each for each in self.lines()), part)

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until ``holds``; fails with the processes' words when it takes too long."""
        deadline = time.monotonic() + _DEADLINE_S
        while not holds():
            if time.monotonic() > deadline:
                errors = [each.read_text()[-2000:] for each in self.folder.glob("*.err")]
                raise TimeoutError(f"{what} did not come: {self.lines()[-5:]} {errors}")
            time.sleep(0.05)

    def lines(self) -> list[str]:
        """What was really done."""
        return toy_farm.lines(self.folder)

    def count(self, prefix: str) -> int:
        """How many lines of the log begin so."""
        return sum(each.startswith(prefix) for each in self.lines())

    def events(self, study_id: str) -> list[StudyEvent]:
        """What the study told of itself."""
        return self.store.events(study_id)

    def trials(self, study_id: str) -> list[Trial]:
        """The study's trials."""
        return self.store.trials(study_id)
