"""Real models in real processes: what is measured, and how each kind of failure is told."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest
from launches import GOLDEN, LEASE, arrays, probed, request

from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.execution import run_job
from distillfarm.agent.plugins import runner
from distillfarm.agent.protocols import Launched, LaunchFailure, ToolRan
from distillfarm.agent.runners.program import APP
from distillfarm.domain.agent import Assign
from distillfarm.domain.errors import InternalError, InvalidRequest
from distillfarm.domain.job import ColdStart
from distillfarm.domain.measurement import Measurement, Outcome

IMAGES = np.random.default_rng(3).standard_normal((3, 1, 28, 28)).astype(np.float32)


@pytest.fixture(autouse=True)
def no_process_left() -> object:
    yield
    assert psutil.Process().children(recursive=True) == []


async def measure(folder: Path, model: Path, target: str, **settings: Any) -> Measurement:
    job, files = request(model, target, **settings)
    device = probed(HostDriver(folder / "host", memory_bytes=1 << 30))
    chosen = runner(job.target.runtime)
    return await run_job(device, chosen, Assign(LEASE, job), files, print)


async def launch(
    driver: HostDriver, model: Path, target: str
) -> Launched | ToolRan | LaunchFailure:
    job, files = request(model, target)
    chosen = runner(job.target.runtime)
    async with driver:
        prepared = await chosen.prepare(driver, job, files)
        return await chosen.launch(driver, job, prepared)


def logits() -> np.ndarray:
    session = onnxruntime.InferenceSession(GOLDEN / "cnn.onnx")
    return session.run(None, {"image": IMAGES})[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("target", "unit", "nodes"),
    [
        ("onnxruntime/cpu", "CPUExecutionProvider", 7),
        ("litert/xnnpack", "XNNPACK", 4),
        ("litert/none", "BUILTIN", 4),
    ],
)
async def test_a_right_model_is_measured_on_each_target(
    tmp_path: Path, target: str, unit: str, nodes: int
) -> None:
    onnx = target.startswith("onnx")
    images = IMAGES if onnx else IMAGES.transpose(0, 2, 3, 1)
    measurement = await measure(
        tmp_path,
        GOLDEN / ("cnn.onnx" if onnx else "cnn.tflite"),
        target,
        inputs=arrays(tmp_path, "inputs.npz", image=images),
        expected=arrays(tmp_path, "expected.npz", logits=logits()),
    )
    assert (measurement.outcome, measurement.reason) == (Outcome.OK, "")
    assert len(measurement.launches) == 2
    for each in measurement.launches:
        assert each.cold_start is ColdStart.NEW_PROCESS
        assert len(each.samples_ns) == 20
        assert 0 < len(each.warmup_ns) <= 10
        assert min(each.samples_ns) > 1000
        parts_ns = each.runtime_ns + each.load_ns + each.first_inference_ns
        assert parts_ns < each.first_output_ns < 20e9
        memory = each.memory
        assert 10e6 < memory.baseline_bytes <= memory.loaded_bytes <= memory.peak_bytes < 1e9
        assert memory.resident_method == "PSS"
        assert [(placed.unit, placed.nodes) for placed in each.placements] == [(unit, nodes)]
        assert each.max_abs_error is not None
        assert each.max_abs_error < 1e-4
    assert measurement.energy.gross_mj is None
    assert "no RAPL" in measurement.energy.reason


async def test_a_wrong_answer_is_incorrect_and_keeps_its_launch(tmp_path: Path) -> None:
    wrong = logits()
    wrong[1, 4] += np.abs(wrong).max() / 2
    measurement = await measure(
        tmp_path,
        GOLDEN / "cnn.onnx",
        "onnxruntime",
        inputs=arrays(tmp_path, "inputs.npz", image=IMAGES),
        expected=arrays(tmp_path, "expected.npz", logits=wrong),
    )
    assert measurement.outcome is Outcome.INCORRECT
    assert "output 'logits' is up to" in measurement.reason
    assert len(measurement.launches) == 1


async def test_a_number_that_is_none_is_incorrect(tmp_path: Path) -> None:
    measurement = await measure(
        tmp_path,
        GOLDEN / "cnn.onnx",
        "onnxruntime",
        inputs=arrays(tmp_path, "inputs.npz", image=IMAGES * np.float32("inf")),
        expected=arrays(tmp_path, "expected.npz", logits=logits()),
    )
    assert measurement.outcome is Outcome.INCORRECT
    assert "not finite" in measurement.reason
    assert measurement.launches[0].max_abs_error is None


@pytest.mark.parametrize(
    ("model", "target", "outcome", "words"),
    [
        ("crashing.tflite", "litert/none", Outcome.CRASHED, "SIGSEGV"),
        ("endless.onnx", "onnxruntime", Outcome.TIMED_OUT, "not done after 2 s, in the first"),
        ("growing.onnx", "onnxruntime", Outcome.OUT_OF_MEMORY, "in the first inference"),
        ("terabytes.onnx", "onnxruntime", Outcome.OUT_OF_MEMORY, ""),
        ("make.py", "onnxruntime", Outcome.REFUSED, "failed"),
        ("cnn.onnx", "litert", Outcome.REFUSED, "not a valid Flatbuffer"),
    ],
)
async def test_a_bad_model_is_data(
    tmp_path: Path, model: str, target: str, outcome: Outcome, words: str
) -> None:
    measurement = await measure(tmp_path, GOLDEN / model, target, launch_timeout_s=2.0)
    assert measurement.outcome is outcome, measurement.reason
    assert words in measurement.reason
    assert "\n" not in measurement.reason
    assert measurement.launches == ()


async def test_a_target_that_does_not_work_there_is_refused_without_a_launch(
    tmp_path: Path,
) -> None:
    measurement = await measure(tmp_path, GOLDEN / "cnn.onnx", "onnxruntime/xnnpack")
    assert measurement.outcome is Outcome.REFUSED
    assert "onnxruntime/cpu/cpu" in measurement.reason


async def test_inputs_of_another_model_are_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="takes shape"):
        await measure(
            tmp_path,
            GOLDEN / "cnn.onnx",
            "onnxruntime",
            inputs=arrays(tmp_path, "inputs.npz", image=np.zeros((1, 3, 9, 9), np.float32)),
        )


async def test_flooded_output_ends_the_launch(tmp_path: Path) -> None:
    flood = "while True: print('x' * 65536)"
    driver = HostDriver(tmp_path / "host", programs={APP: (sys.executable, "-c", flood)})
    failure = await launch(driver, GOLDEN / "cnn.onnx", "onnxruntime")
    assert isinstance(failure, LaunchFailure)
    assert failure.outcome is Outcome.CRASHED
    assert "output" in failure.reason


async def test_a_broken_launch_program_is_our_fault(tmp_path: Path) -> None:
    driver = HostDriver(tmp_path / "host", programs={APP: (sys.executable, "-c", "1 / 0")})
    with pytest.raises(InternalError, match="ZeroDivisionError"):
        await launch(driver, GOLDEN / "cnn.onnx", "onnxruntime")


async def test_cancelling_a_job_ends_its_process_and_leaves_no_file(tmp_path: Path) -> None:
    job = asyncio.create_task(
        measure(tmp_path, GOLDEN / "endless.onnx", "onnxruntime", launch_timeout_s=60.0)
    )
    async with asyncio.timeout(20):
        while not psutil.Process().children(recursive=True):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert psutil.Process().children(recursive=True) == []
    assert not (tmp_path / "host").exists()
