"""A shipped tiny model measured on every target: raw samples, memory, evidence, right outputs."""

import statistics
from pathlib import Path

import numpy as np
import pytest
from launches import LEASE, arrays, request
from phone_under_test import Shown

from distillfarm.agent import drivers, plugins
from distillfarm.agent.drivers.android.source import TARGETS
from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Probed
from distillfarm.agent.protocols import Attached
from distillfarm.domain.agent import Assign
from distillfarm.domain.hardware import DeviceInfo, Runtime, Target
from distillfarm.domain.measurement import Measurement, Outcome

MODELS = Path(drivers.__file__).parent / "host" / "models"
IMAGE = np.random.default_rng(7).standard_normal((1, 1, 8, 8)).astype(np.float32)
# From tests/golden/launch_models/make.py.
WEIGHT = np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)


def reference() -> np.ndarray:
    """What the tiny model answers, [1, 1, 6, 6], worked out here: a convolution, then ReLU."""
    windows = np.lib.stride_tricks.sliding_window_view(IMAGE[0, 0], (3, 3))
    sums: np.ndarray = (windows * WEIGHT).sum((2, 3))
    return sums.clip(min=0)[None, None]


async def measure(
    attached: Attached, info: DeviceInfo, target: Target, folder: Path
) -> Measurement:
    """One measurement as a job of the farm makes it."""
    onnx = target.runtime is Runtime.ONNXRUNTIME
    image, out = IMAGE, reference()
    if not onnx:
        image, out = image.transpose(0, 2, 3, 1), out.transpose(0, 2, 3, 1)
    job, files = request(
        MODELS / ("tiny.onnx" if onnx else "tiny.tflite"),
        str(target),
        inputs=arrays(folder, "inputs.npz", image=image),
        expected=arrays(folder, "expected.npz", out=out),
        launches=3,
        launch_timeout_s=120.0,
    )
    runner = plugins.runner(target.runtime)
    return await run_job(Probed(attached, info), runner, Assign(LEASE, job), files, ignore)


def ignore(line: str, done: float) -> None:
    """Takes a job's progress."""


def medians_us(measurement: Measurement) -> list[float]:
    return [statistics.median(each.samples_ns) / 1e3 for each in measurement.launches]


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_a_model_is_measured_with_evidence(
    attached: Attached, info: DeviceInfo, target: Target, tmp_path: Path, shown: Shown
) -> None:
    (support,) = (each for each in info.runtimes if each.target == target)
    if not support.works:
        pytest.skip(support.refusal)
    measurement = await measure(attached, info, target, tmp_path)
    assert (measurement.outcome, measurement.reason) == (Outcome.OK, "")
    assert measurement.emulated is info.emulated
    assert len(measurement.launches) == 3
    for launch in measurement.launches:
        assert 10 <= len(launch.samples_ns) <= 20
        assert min(launch.samples_ns) > 0
        parts_ns = launch.runtime_ns + launch.load_ns + launch.first_inference_ns
        assert parts_ns <= launch.first_output_ns
        assert launch.memory.peak_bytes >= launch.memory.baseline_bytes > 0
        assert launch.max_abs_error is not None
        assert launch.max_abs_error <= 0.01 * float(np.abs(reference()).max())
    context = {each.name: each.value for each in measurement.context}
    assert context["os_build"] == info.os_build
    assert context["before.boot_id"] == context["after.boot_id"]
    assert any(each.quantity == "battery" for each in measurement.series)
    shown(summary(measurement, info))


def summary(measurement: Measurement, info: DeviceInfo) -> str:
    """What a person looks at first; an emulated phone's times are no numbers."""
    last = measurement.launches[-1]
    placed = ", ".join(f"{each.nodes} on {each.unit}" for each in last.placements) or "not told"
    peak = f"{last.memory.peak_method} {last.memory.peak_bytes / 2**20:.1f} MiB"
    times = ", ".join(f"{each:.1f}" for each in medians_us(measurement))
    took = "times of an emulated phone are none" if info.emulated else f"medians {times} µs"
    return f"{took}; nodes {placed}; {peak}; error {last.max_abs_error:.2g}"


async def test_energy_has_a_method_or_a_reason(
    attached: Attached, info: DeviceInfo, tmp_path: Path, shown: Shown
) -> None:
    measurement = await measure(attached, info, first_working(info), tmp_path)
    energy = measurement.energy
    if energy.gross_mj is None:
        assert energy.reason
        shown(f"not measured: {energy.reason}")
    else:
        assert not info.emulated
        assert energy.method
        assert energy.gross_mj > 0
        assert energy.resolution_mj is not None
        shown(f"{energy.gross_mj:.3g} mJ gross by {energy.method}")


async def test_the_same_measured_twice_differs_by_little(
    attached: Attached, info: DeviceInfo, tmp_path: Path, shown: Shown
) -> None:
    found = []
    for _ in range(2):
        measurement = await measure(attached, info, first_working(info), tmp_path)
        assert measurement.outcome is Outcome.OK
        found.append(statistics.geometric_mean(medians_us(measurement)))
    if info.emulated:
        pytest.skip("emulated: two measurements were made, and their times are no numbers")
    first, second = found
    # How much is for people to judge; this much is no noise.
    assert 0.5 < second / first < 2
    shown(f"{first:.1f} µs, then {second:.1f} µs: {100 * (second / first - 1):+.1f} %")


def first_working(info: DeviceInfo) -> Target:
    return next(each.target for each in info.runtimes if each.works)
