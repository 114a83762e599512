from pathlib import Path

import msgspec
import pytest
from cli_lab import Lab, Run
from farm_samples import DIGEST

from distillfarm.cli.measuring import Measured
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.job import ColdStart
from distillfarm.domain.measurement import Outcome


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    return str(path)


def test_the_table_has_cold_parts_warm_quantiles_memory_and_energy(
    lab: Lab, run_cli: Run, model: str
) -> None:
    result = run_cli("measure", model, "--runtime", "onnxruntime")
    assert result.exit_code == 0
    for text in (
        "cold start", "load and compile", "first inference", "warm p50", "warm p90", "VmHWM",
        "not compared", "energy for one inference: not measured: no meter here",
    ):  # fmt: skip
        assert text in result.stdout
    assert "launch 1 of 3" in result.stderr


def test_json_has_every_raw_sample(lab: Lab, run_cli: Run, model: str) -> None:
    result = run_cli("measure", model, "--runtime", "onnxruntime", "--json")
    measured = msgspec.json.decode(result.stdout, type=Measured)
    assert [len(each.samples_ns) for each in measured.measurement.launches] == [10, 10, 10]
    assert measured.summary is not None


def test_options_become_the_spec(lab: Lab, run_cli: Run, model: str, tmp_path: Path) -> None:
    (tmp_path / "i.npz").write_bytes(b"i")
    (tmp_path / "e.npz").write_bytes(b"e")
    options = "--launches 7 --iterations 40 --threads 2 --inputs i.npz --expected e.npz"
    options += " --cold first_ever --tool onnxruntime_perf_test"
    where = "--runtime onnxruntime --delegate xnnpack --device platform=host"
    assert run_cli("measure", model, *where.split(), *options.split()).exit_code == 0
    target, selector, spec = lab.measured[0]
    assert (target, selector) == (parse_target("onnxruntime/xnnpack/cpu"), "platform=host")
    assert (spec.launches, spec.iterations, spec.threads) == (7, 40, 2)
    assert (spec.inputs_digest, spec.expected_digest) == (DIGEST, DIGEST)
    assert (spec.cold_start, spec.tool) == (ColdStart.FIRST_EVER, "onnxruntime_perf_test")


def test_a_bad_outcome_is_shown_and_ends_with_code_3(lab: Lab, run_cli: Run, model: str) -> None:
    lab.outcome, lab.reason = Outcome.CRASHED, "signal 11\x1b[2J in load"
    result = run_cli("measure", model, "--runtime", "onnxruntime")
    assert result.exit_code == 3
    assert "crashed" in result.stdout
    assert result.stderr.splitlines()[-1] == (
        "distillfarm: model.onnx: crashed: signal 11 [2J in load"
    )


def test_a_model_for_another_runtime_is_refused_before_anything_starts(
    lab: Lab, run_cli: Run, model: str
) -> None:
    result = run_cli("measure", model, "--runtime", "litert")
    assert result.exit_code == 1
    assert "litert takes tflite, this is onnx" in result.stderr
    assert lab.measured == []


def test_expected_outputs_need_inputs(lab: Lab, run_cli: Run, model: str) -> None:
    result = run_cli("measure", model, "--runtime", "onnxruntime", "--expected", model)
    assert "--expected needs --inputs" in result.stderr
