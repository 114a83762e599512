"""kill -9 of real controller, agent and worker processes in the middle of one real study."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from distillfarm.client import Client
from distillfarm.controller.bundle import unpack, verify
from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.controller.store.sql import SqlStore
from distillfarm.domain.errors import FarmError
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Budget, StudyState
from distillfarm.domain.study import StudySpec as Spec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_PATIENCE_S = 150.0
_FEATURES, _HIDDEN, _CLASSES, _SAMPLES = 16, 2048, 4, 3000


class Farm:
    """Controller, agent and worker as three processes that can be killed one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.state_dir.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start a part; a worker by its own name."""
        common = ["--state-dir", str(self.state_dir)]
        arguments = {
            "controller": [
                *("controller", "--listen", self.address, "--web-listen", ""),
                *("--heartbeat-s", "1", "--lease-s", "5"),
            ],
            "agent": ["agent", "--controller", self.address],
        }.get(name, ["worker", "--name", name])
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "distillfarm.cli", *arguments, *common],
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": "1",
                    "DISTILLFARM_CONTROLLER_WORKER_SILENCE_S": "8",
                },
            )

    def kill(self, name: str) -> None:
        """Kill -9."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """SIGTERM to all; they must end by themselves."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            process.wait(60)
        self._running.clear()

    def leave(self) -> None:
        """Kill whatever still runs."""
        for name in list(self._running):
            self.kill(name)

    def logs(self) -> str:
        """The last words of every part."""
        return "\n".join(
            f"{each.name}: {each.read_text()[-1500:]}" for each in self.folder.glob("*.log")
        )


@pytest.fixture(name="farm")
def _farm(tmp_path: Path) -> Iterator[Farm]:
    farm = Farm(tmp_path)
    try:
        yield farm
    finally:
        farm.leave()
    wait_until(lambda: not belonging_to(tmp_path), 30, "no orphan is left")


async def test_one_study_survives_every_kind_of_death(farm: Farm, tmp_path: Path) -> None:
    for name in ("controller", "agent", "worker-1"):
        farm.start(name)
    study_id = await create(farm, tmp_path)
    store = SqlStore(ControllerSettings(state_dir=farm.state_dir).database)

    def heard(stage: str, part: str, times: int = 1) -> Callable[[], bool]:
        def check() -> bool:
            said = [e for e in store.events(study_id) if e.stage == stage and part in e.text]
            return len(said) >= times or store.study(study_id).state.final

        return check

    deaths = (
        ("ingest", "reading", "worker-1"),
        ("ingest", "reading", "controller"),
        ("compress", "distill(width=0.5)", "worker-1"),
        ("compress", "distill(width=0.5)", "controller"),
        ("measure", "", "agent"),
        ("measure", "measured", "controller"),
        ("bundle", "", "controller"),
    )
    for stage, part, victim in deaths:
        wait_until(heard(stage, part), _PATIENCE_S, f"{stage} {part} before killing {victim}", farm)
        farm.kill(victim)
        farm.start(victim)
    wait_until(lambda: store.study(study_id).state.final, _PATIENCE_S, "the end", farm)

    study = store.study(study_id)
    assert (study.state, study.error) == (StudyState.DONE, "")
    trials = store.trials(study_id)
    fates = Counter((each.chipset, each.candidate, each.final) for each in trials)
    assert max(fates.values()) == 1
    searched = [(str(each.candidate), each.outcome_reason) for each in trials if not each.final]
    assert len(searched) == 3, searched
    built = [each for each in trials if each.exported is not None]
    assert built
    assert all(each.outcome is Outcome.OK for each in built), [
        (str(each.candidate), each.outcome, each.outcome_reason) for each in built
    ]
    # Every measurement that the store took counts once, and none was taken twice.
    known = store.measurements(MeasurementQuery(study_id=study_id))
    assert len({each.job_id for each in known}) == len(known)
    named = Counter(one for each in built for one in each.measurement_ids)
    assert {each.measurement_id for each in known} == named.keys()
    assert max(named.values()) == 1
    assert len(study.choices) == 1
    assert study.bundle is not None
    archive = tmp_path / "bundle.tar"
    await wait_for_answer(farm)
    async with Client.connect(farm.address) as client:
        await client.download(study.bundle.digest, archive)
    unpack(archive, tmp_path / "out")
    assert verify(tmp_path / "out").ok
    farm.stop()
    assert not list((farm.state_dir / "work").rglob("work-*"))


async def test_a_worker_that_stays_away_is_replaced(farm: Farm, tmp_path: Path) -> None:
    for name in ("controller", "agent", "worker-1"):
        farm.start(name)
    study_id = await create(farm, tmp_path, trials=1)
    store = SqlStore(ControllerSettings(state_dir=farm.state_dir).database)
    wait_until(lambda: bool(store.events(study_id)), _PATIENCE_S, "a first word", farm)
    farm.kill("worker-1")
    farm.start("worker-2")
    wait_until(lambda: store.study(study_id).state.final, _PATIENCE_S, "the end", farm)
    assert store.study(study_id).state is StudyState.DONE
    farm.stop()


async def create(farm: Farm, folder: Path, trials: int = 3) -> str:
    """A small study on a network whose own answers are the labels."""
    model, data = folder / "model.onnx", folder / "data.npz"
    write_problem(model, data)
    await wait_for_answer(farm)
    async with Client.connect(farm.address) as client:
        digest, size = await client.upload(model)
        data_digest, _ = await client.upload(data)
        spec = Spec(
            "kill",
            SourceModel(ArtifactRef(digest, size, ModelFormat.ONNX, "model.onnx")),
            Dataset(data_digest),
            parse_sla("accuracy_drop<=20pt, warm_p90<=100ms"),
            (parse_target("onnxruntime"),),
            budget=Budget(trials, 600.0),
            launches=2,
            final_launches=3,
        )
        return (await client.create_study(spec, "kill")).study_id


async def wait_for_answer(farm: Farm) -> None:
    """Until the controller answers and has a device."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            async with Client.connect(farm.address) as client:
                if await client.devices():
                    return
        except FarmError:
            pass
        if time.monotonic() > deadline:
            pytest.fail(f"no device came: {farm.logs()}")
        time.sleep(0.5)  # noqa: ASYNC251 - nothing else runs in this loop


def write_problem(model: Path, data: Path) -> None:
    """A network of two layers, and samples that it labelled itself."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(_FEATURES, _HIDDEN)).astype(np.float32)
    second = generator.normal(size=(_HIDDEN, _CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("MatMul", ["active", "second"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", _FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", _CLASSES])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), model)
    samples = generator.normal(size=(_SAMPLES, _FEATURES)).astype(np.float32)
    (answers,) = onnxruntime.InferenceSession(model).run(None, {"x": samples})
    np.savez(data, allow_pickle=False, x=samples, label=np.asarray(answers).argmax(axis=1))


def belonging_to(folder: Path) -> list[str]:
    """What still runs with the folder in its command line or as its working directory."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(folder) in each for each in words):
            found.append(" ".join(words))
    return found


def wait_until(
    condition: Callable[[], bool], patience_s: float, what: str, farm: Farm | None = None
) -> None:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            pytest.fail(f"{what}: not within {patience_s} s\n{farm.logs() if farm else ''}")
        time.sleep(0.05)
