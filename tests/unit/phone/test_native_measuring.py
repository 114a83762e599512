"""The native runner measures and judges as the Python program does, on the real runtimes."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from launches import GOLDEN, arrays
from native_runner import LITERT, ONNXRUNTIME, SOURCE, Said, order, run, run_twin

from distillfarm.agent.program import loop
from distillfarm.agent.protocols import Exit, Launched, LaunchFailure
from distillfarm.agent.runners import reports
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Outcome

QUANTISED = GOLDEN.parent / "phone_models" / "quantised.tflite"
NOISE = np.random.default_rng(3)
IMAGES = NOISE.standard_normal((3, 1, 28, 28)).astype(np.float32)
LOGITS = NOISE.standard_normal((3, 10)).astype(np.float32)


class Target(NamedTuple):
    """A runtime with a delegate, and a model and inputs for it."""

    runtime: str
    delegate: str
    library: Path
    model: Path
    images: np.ndarray


class Refusal(NamedTuple):
    """A model that is not measured, and how that is told."""

    runtime: str
    delegate: str
    library: Path
    model: str
    event: type[reports.Event]
    words: str


CHANNELS_LAST = IMAGES.transpose(0, 2, 3, 1)
TARGETS = [
    Target("onnxruntime", "cpu", ONNXRUNTIME, GOLDEN / "cnn.onnx", IMAGES),
    Target("litert", "xnnpack", LITERT, GOLDEN / "cnn.tflite", CHANNELS_LAST),
    Target("litert", "none", LITERT, GOLDEN / "cnn.tflite", CHANNELS_LAST),
]
REFUSALS = [
    Refusal("onnxruntime", "nnapi", ONNXRUNTIME, "cnn.onnx", reports.RuntimeRefused, "no 'nnapi'"),
    Refusal("onnxruntime", "cpu", ONNXRUNTIME, "make.py", reports.RuntimeRefused, "failed"),
    Refusal("onnxruntime", "cpu", ONNXRUNTIME, "terabytes.onnx", reports.MemoryRefused, "allocate"),
    Refusal("litert", "nnapi", LITERT, "cnn.tflite", reports.RuntimeRefused, "no 'nnapi' delegate"),
    Refusal("litert", "xnnpack", LITERT, "cnn.onnx", reports.RuntimeRefused, "LiteRT: "),
    Refusal("litert", "none", ONNXRUNTIME, "cnn.tflite", reports.RuntimeMissing, "neither"),
    Refusal("onnxruntime", "cpu", LITERT, "cnn.onnx", reports.RuntimeMissing, "OrtGetApiBase"),
    Refusal("litert", "none", Path("/no/lib"), "cnn.tflite", reports.RuntimeMissing, "/no/lib"),
]


def named(case: Target | Refusal) -> str:
    return f"{case.runtime}-{case.delegate}-{Path(case.model).name}"


def judged(said: Said) -> Launched | LaunchFailure:
    ended = Exit(said.code, False, False, said.stderr)
    return reports.judge(reports.Report(said.events, ended, 0.0), MeasureSpec())


@pytest.mark.parametrize("target", TARGETS, ids=named)
def test_errors_and_placements_are_those_of_the_python_program(
    runner: Path, tmp_path: Path, target: Target
) -> None:
    inputs = str(arrays(tmp_path, "inputs.npz", image=target.images))
    expected = str(arrays(tmp_path, "expected.npz", logits=LOGITS))
    ordered = order(target.runtime, target.delegate, target.model, inputs=inputs, expected=expected)
    native, twin = run(runner, target.library, ordered).finished, run_twin(ordered).finished
    assert native.placements == twin.placements
    (ours,), (theirs,) = native.errors, twin.errors
    assert (ours.name, ours.magnitude) == (theirs.name, theirs.magnitude)
    assert ours.largest == pytest.approx(theirs.largest, rel=1e-5)


@pytest.mark.parametrize("target", TARGETS, ids=named)
def test_a_launch_tells_its_durations_samples_and_memory(runner: Path, target: Target) -> None:
    ordered = order(target.runtime, target.delegate, target.model, iterations=20)
    said = run(runner, target.library, ordered)
    assert [type(each) for each in said.events] == [
        reports.RuntimeLoaded,
        reports.ModelLoaded,
        reports.FirstDone,
        reports.Finished,
    ]
    finished = said.finished
    assert len(finished.samples_ns) == finished.inferences == 20
    assert 5 <= len(finished.warmup_ns) <= 10
    assert min(finished.samples_ns) > 1000
    parts_ns = finished.runtime_ns + finished.load_ns + finished.first_inference_ns
    assert parts_ns < finished.first_output_ns < 20e9
    window_ns = finished.sampling_ended_ns - finished.sampling_began_ns
    assert sum(finished.samples_ns) <= window_ns
    memory = finished.memory
    assert 1e6 < memory.baseline_bytes <= memory.loaded_bytes <= memory.peak_bytes < 1e9
    assert (memory.peak_method, memory.resident_method) == ("VmHWM", "PSS")
    assert isinstance(judged(said), Launched)


def test_a_quantised_model_takes_and_gives_real_numbers(runner: Path, tmp_path: Path) -> None:
    rows = NOISE.standard_normal((7, 8)).astype(np.float32)
    ordered = order(
        "litert",
        "none",
        QUANTISED,
        inputs=str(arrays(tmp_path, "inputs.npz", row=rows)),
        expected=str(arrays(tmp_path, "expected.npz", score=np.zeros((7, 3), np.float32))),
    )
    native, twin = run(runner, LITERT, ordered).finished, run_twin(ordered).finished
    assert native.errors[0].largest == pytest.approx(twin.errors[0].largest, rel=1e-6)
    assert native.errors[0].largest is not None
    assert native.errors[0].largest > 0


def test_a_wrong_answer_is_incorrect(runner: Path, tmp_path: Path) -> None:
    inputs = str(arrays(tmp_path, "inputs.npz", image=IMAGES))
    expected = str(arrays(tmp_path, "expected.npz", logits=LOGITS * 100))
    ordered = order("onnxruntime", "cpu", GOLDEN / "cnn.onnx", inputs=inputs, expected=expected)
    failure = judged(run(runner, ONNXRUNTIME, ordered))
    assert isinstance(failure, LaunchFailure)
    assert failure.outcome is Outcome.INCORRECT


def test_an_output_that_is_no_number_has_no_largest_error(runner: Path, tmp_path: Path) -> None:
    infinite = IMAGES * np.float32("inf")
    inputs = str(arrays(tmp_path, "inputs.npz", image=infinite))
    expected = str(arrays(tmp_path, "expected.npz", logits=LOGITS))
    ordered = order("onnxruntime", "cpu", GOLDEN / "cnn.onnx", inputs=inputs, expected=expected)
    (error,) = run(runner, ONNXRUNTIME, ordered).finished.errors
    assert error.largest is None


def test_an_output_of_another_shape_has_no_largest_error(runner: Path, tmp_path: Path) -> None:
    inputs = str(arrays(tmp_path, "inputs.npz", image=IMAGES))
    expected = str(arrays(tmp_path, "expected.npz", logits=LOGITS[:, :9]))
    ordered = order("onnxruntime", "cpu", GOLDEN / "cnn.onnx", inputs=inputs, expected=expected)
    (error,) = run(runner, ONNXRUNTIME, ordered).finished.errors
    assert error.largest is None


@pytest.mark.parametrize("case", REFUSALS, ids=named)
def test_what_a_runtime_will_not_do_is_an_answer(runner: Path, case: Refusal) -> None:
    ordered = order(case.runtime, case.delegate, GOLDEN / case.model)
    said = run(runner, case.library, ordered)
    assert type(said.last) is case.event
    assert case.words in said.reason
    assert "\n" not in said.reason
    assert said.code == 0


def test_a_crashing_model_is_seen_by_its_signal(runner: Path) -> None:
    said = run(runner, LITERT, order("litert", "none", GOLDEN / "crashing.tflite"))
    assert said.code == -11
    assert isinstance(said.last, reports.RuntimeLoaded)


def test_only_the_accelerator_that_is_asked_for_is_loaded(runner: Path) -> None:
    said = run(runner, LITERT, order("litert", "xnnpack", GOLDEN / "cnn.tflite"))
    assert "Dynamically loaded GPU accelerator" not in said.stderr


@pytest.mark.parametrize("target", TARGETS[:1], ids=named)
def test_a_long_launch_goes_on_until_its_time_is_over_and_its_queries_are_made(
    runner: Path, target: Target
) -> None:
    endless = order(
        target.runtime, target.delegate, target.model, iterations=10**12, kept=64, least=300
    )
    for said in (run(runner, target.library, endless), run_twin(endless)):
        finished = said.finished
        assert finished.sampling_ended_ns - finished.sampling_began_ns >= 0.5e9
        assert finished.inferences >= 300
        assert 32 <= len(finished.samples_ns) <= 64


@pytest.mark.parametrize(("inferences", "kept"), [(5, 8), (100, 8), (1000, 9), (70_001, 1000)])
def test_the_native_runner_keeps_the_samples_that_its_twin_keeps(
    runner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inferences: int, kept: int
) -> None:
    del runner  # where it cannot be built, this cannot either
    program = tmp_path / "thinning"
    source = Path(__file__).parents[2] / "standins" / "thinning.c"
    compiler: list[str | Path] = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
    ]
    subprocess.run([*compiler, f"-I{SOURCE}", source, "-o", program], check=True, timeout=240)
    command: list[str | Path] = [program, str(inferences), str(kept)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    now_ns = itertools.accumulate(range(inferences), initial=0)
    moments = list(itertools.chain.from_iterable((each, each) for each in now_ns))
    # One look for the deadline, then one before and one after every inference.
    clock = iter([0, *moments[1:-1]])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(clock))
    ours = loop.sample(lambda: None, inferences, 1e9, kept=kept)
    assert told.split() == [*map(str, ours.samples_ns), "of", str(inferences)]
