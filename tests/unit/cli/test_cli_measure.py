import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cli_lab import Lab, Run
from farm_samples import DIGEST, launch

from distillfarm.cli.measuring import Measured
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.job import ColdStart, Mode
from distillfarm.domain.measurement import (
    Energy,
    Outcome,
    Peak,
    Placement,
    Reported,
    Series,
    SeriesPoint,
    Stop,
    Sustained,
    ToolRun,
)


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


def warming() -> Series:
    points = tuple(SeriesPoint(float(second), 30.0 + second / 10) for second in range(61))
    return Series("temperature", "°C", "dumpsys thermalservice", points)


def throttling() -> Series:
    points = (SeriesPoint(10.0, 0.0), SeriesPoint(30.0, 3.0), SeriesPoint(40.0, 1.0))
    return Series("throttling", "level", "thermal status", points)


def test_what_meters_saw_is_shown_with_how_far_to_trust_it(
    lab: Lab, run_cli: Run, model: str
) -> None:
    metered = Energy("power rails", "", 12.5, 11.0, 0.5, 0.25, 5)
    lab.more = {"series": (warming(),), "energy": metered}
    shown = run_cli("measure", model, "--runtime", "onnxruntime").stdout
    for text in (
        "temperature", "30.0 °C", "36.0 °C", "60 s", "dumpsys thermalservice", "▁",
        "11.0 mJ net by power rails (read every 250 ms, over 5 launches, tells 0.500 mJ apart)",
    ):  # fmt: skip
        assert text in shown


def test_the_kind_of_cold_start_and_what_stayed_in_memory_are_told(
    lab: Lab, run_cli: Run, model: str
) -> None:
    kind = ColdStart.PAGE_CACHE_DROPPED
    cold = [replace(launch(), cold_start=kind, page_cache_resident=each) for each in (0.02, 0.1)]
    lab.more = {"launches": tuple(cold)}
    result = run_cli("measure", model, "--runtime", "onnxruntime", "--cold", "page_cache_dropped")
    assert lab.measured[0][2].cold_start is kind
    assert "page cache dropped" in result.stdout
    assert "at most 10%" in result.stdout


def test_a_tool_s_own_figures_are_shown_as_its_own(lab: Lab, run_cli: Run, model: str) -> None:
    figures = (Reported("Inference (avg)", 947.1, "us"),)
    run = ToolRun("benchmark_model", figures, placements=(Placement("XNNPACK", 7),))
    lab.more = {"launches": (), "tool_runs": (run, run)}
    result = run_cli("measure", model, "--runtime", "onnxruntime", "--tool", "benchmark_model")
    assert result.exit_code == 0
    assert lab.measured[0][2].tool == "benchmark_model"
    assert "not comparable with launches" in result.stdout
    assert "947.1 us" in result.stdout
    assert "warm p50" not in result.stdout
    as_json = run_cli("measure", model, "--runtime", "onnxruntime", "--json").stdout
    assert msgspec.json.decode(as_json, type=Measured).summary is None


def test_an_emulated_device_s_times_are_not_shown(lab: Lab, run_cli: Run, model: str) -> None:
    metered = Energy("power rails", "", 12.5, 11.0)
    lab.more = {"emulated": True, "series": (warming(),), "energy": metered}
    result = run_cli("measure", model, "--runtime", "onnxruntime")
    assert result.exit_code == 0
    assert "ok (emulated)" in result.stdout
    assert "EMULATED" in result.stdout
    for number in ("warm", " ms", "MB", "°C", "mJ", "VmHWM"):
        assert number not in result.stdout
    assert "placement" in result.stdout


def test_modes_and_stopping_become_the_spec(lab: Lab, run_cli: Run, model: str) -> None:
    options = "--mode sustained --duration 30 --cooldown 5 --max-launches 60 --width 0.05"
    options += " --budget 120"
    result = run_cli("measure", model, "--runtime", "onnxruntime", *options.split())
    assert result.exit_code == 0
    spec = lab.measured[0][2]
    assert (spec.mode, spec.duration_s, spec.cooldown_s) == (Mode.SUSTAINED, 30.0, 5.0)
    assert (spec.max_launches, spec.width, spec.budget_s) == (60, 0.05, 120.0)


def test_sustained_lasts_ten_minutes_unless_told(lab: Lab, run_cli: Run, model: str) -> None:
    run_cli("measure", model, "--runtime", "onnxruntime", "--mode", "sustained")
    assert lab.measured[0][2].duration_s == 600.0


def test_it_says_why_it_stopped_where_launches_gather_and_how_they_drift(
    lab: Lab, run_cli: Run, model: str
) -> None:
    lab.more = {"stop": Stop.WIDTH, "series": (throttling(),)}
    peaks = (Peak(31.0, 0.6), Peak(50.0, 0.4))
    lab.summary = {"load_peaks": peaks, "drift": 0.04, "drifting": 2, "minimum_effect": 0.1}
    options = ("--max-launches", "60", "--width", "0.05")
    shown = run_cli("measure", model, "--runtime", "onnxruntime", *options).stdout
    for text in (
        "stopped: the intervals of p50 and p90 are no wider than 5.0%",
        "load: launches gather around: 31.0 ms (60%) and 50.0 ms (40%)",
        "inside a launch: 2 of 3 launches drift; the typical one is 4.0% slower at its end",
        "throttling: severe after 20 s",
        "smallest difference: 10%",
    ):
        assert text in shown


def test_unstable_is_shown_with_its_reason_instead_of_warm_numbers(
    lab: Lab, run_cli: Run, model: str
) -> None:
    lab.summary = {"stable": False, "instability": "launches differ by 31.0%"}
    shown = run_cli("measure", model, "--runtime", "onnxruntime").stdout
    warm = [line for line in shown.splitlines() if re.match(r"warm p\d\d ", line)]
    assert [line.split()[2] for line in warm if "UNSTABLE" in line] == ["UNSTABLE"] * 3
    assert "UNSTABLE: launches differ by 31.0%; quiet the device, or measure more" in shown
    assert "warm MAD" not in shown


def test_a_launch_without_rest_is_drawn_over_its_time(lab: Lab, run_cli: Run, model: str) -> None:
    hot = tuple(1_000_000 + 10_000 * number for number in range(100))
    lab.more = {"launches": (replace(launch(), samples_ns=hot, inferences=5000, sampling_s=30.0),)}
    lab.summary = {"sustained": Sustained(1.0, 2.0, 3.5)}
    options = ("--mode", "sustained", "--duration", "30")
    shown = run_cli("measure", model, "--runtime", "onnxruntime", *options).stdout
    assert "without rest: 1.00 ms at first, 2.00 ms at last (+100%); 10 % slower for good" in shown
    (line,) = (each for each in shown.splitlines() if "30 s" in each)
    assert "▁▁" in line
    assert line.rstrip().endswith("█")
    assert "5000 timed inferences" in shown


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--width 0.05", "--width and --budget need --max-launches"),
        ("--duration 5", "--duration is for --mode sustained or single-stream"),
        ("--mode fast", "fast"),
    ],
)
def test_options_that_say_nothing_together_are_refused(
    lab: Lab, run_cli: Run, model: str, options: str, reason: str
) -> None:
    result = run_cli("measure", model, "--runtime", "onnxruntime", *options.split())
    assert result.exit_code == 1
    assert reason in result.stderr
    assert lab.measured == []
