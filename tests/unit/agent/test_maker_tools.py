"""The makers' tools: what they are asked, and what their recorded outputs mean."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from launches import GOLDEN as MODELS
from launches import LEASE, info, probed, request

from distillfarm.agent import plugins
from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.execution import run_job
from distillfarm.agent.protocols import Exit, Launched, LaunchFailure, Prepared, ToolRan
from distillfarm.agent.runners.tools.benchmark_model import BenchmarkModel
from distillfarm.agent.runners.tools.executor_runner import ExecutorRunner
from distillfarm.agent.runners.tools.perf_test import PerfTest
from distillfarm.agent.runners.tools.runner import ToolRunner
from distillfarm.agent.runners.tools.tool import Tool, settled, split
from distillfarm.domain.agent import Assign
from distillfarm.domain.errors import InvalidRequest, MissingExtra
from distillfarm.domain.hardware import Runtime, RuntimeSupport, Target, parse_target
from distillfarm.domain.job import ColdStart, MeasureSpec
from distillfarm.domain.measurement import Outcome, Placement, ToolRun

GOLDEN = Path(__file__).parents[2] / "golden" / "android"
FINE = Exit(0, False, False, "")
LEFT = Exit(1, False, False, "")
SPEC = MeasureSpec(max_warmup=20, iterations=40, max_sampling_s=2.5, threads=2)
MODEL = Prepared("/data/local/tmp/m.tflite")
CPU, XNNPACK = parse_target("onnxruntime/cpu"), parse_target("litert/xnnpack")
GPU, NNAPI = parse_target("litert/gpu/gpu"), parse_target("litert/nnapi/npu")
PTE = parse_target("executorch/xnnpack")


def recorded(name: str) -> list[str]:
    return (GOLDEN / f"{name}.txt").read_text().splitlines()


def ran(tool: Tool, lines: list[str], target: Target, spec: MeasureSpec = SPEC) -> ToolRun:
    result = tool.parse(lines, FINE, spec, target)
    assert isinstance(result, ToolRan), result
    assert result.run.tool == tool.name
    return result.run


def failed(tool: Tool, lines: list[str], target: Target, ended: Exit = LEFT) -> LaunchFailure:
    result = tool.parse(lines, ended, SPEC, target)
    assert isinstance(result, LaunchFailure), result
    assert "\n" not in result.reason
    return result


def figures(run: ToolRun) -> dict[str, tuple[float, str]]:
    return {each.name: (each.value, each.unit) for each in run.reported}


class TestBenchmarkModel:
    tool = BenchmarkModel()

    def test_version_one_tells_the_timed_block_and_its_summary(self) -> None:
        run = ran(self.tool, recorded("benchmark_model_v1_cpu"), XNNPACK)
        told = figures(run)
        assert told["inference count"] == (50, "")
        assert told["inference avg"] == (266473, "us")
        assert told["inference std"] == (419, "us")
        assert told["Inference (avg)"] == (266473, "us")
        assert told["First inference"] == (339304, "us")
        assert told["Warmup (avg)"] == (302814, "us")
        assert (run.load_ns, run.first_inference_ns) == (20_283_000, 339_304_000)
        assert (run.samples_ns, run.warmup_ns, run.placements) == ((), (), ())

    def test_version_two_tells_its_block_in_milliseconds_and_memory(self) -> None:
        run = ran(self.tool, recorded("benchmark_model_v2_litert_cpu"), XNNPACK)
        told = figures(run)
        assert told["inference avg"] == (947.132, "us")
        assert told["inference median"] == (942, "us")
        assert told["inference p95"] == (991, "us")
        assert told["Inference (avg)"] == (0.95, "ms")
        assert told["Model initialization"] == (5.76, "ms")
        assert told["Throughput"] == (197.97, "MB/s")
        assert told["Overall footprint"] == (7.07, "MB")
        assert "Peak memory" not in told
        assert (run.load_ns, run.first_inference_ns) == (5_757_000, 2_125_000)

    def test_a_profile_after_the_figures_does_not_disturb_them(self) -> None:
        run = ran(self.tool, recorded("benchmark_model_v2_litert_cpu_profiler"), XNNPACK)
        assert figures(run)["inference count"] == (2112, "")
        assert run.placements == (Placement("TfLiteXNNPackDelegate", 1),)

    def test_an_apps_log_has_the_same_words_and_what_was_left_to_the_cpu(self) -> None:
        run = ran(self.tool, recorded("benchmark_model_v1_logcat_app"), XNNPACK)
        assert run.placements == (
            Placement("TfLiteXNNPackDelegate", 539),
            Placement("BUILTIN", 9),
        )
        assert figures(run)["Memory footprint overall"] == (73.4102, "MB")
        assert run.load_ns == 92_318_000

    def test_a_gpu_that_took_every_operator_counts(self) -> None:
        run = ran(self.tool, recorded("benchmark_model_v1_gpu_lines"), GPU)
        assert run.placements == (Placement("TfLiteGpuDelegateV2", 58),)
        assert run.load_ns == 842_225_000
        assert figures(run)["inference avg"] == (35134.9, "us")

    def test_the_old_summary_and_peak_memory_are_read(self) -> None:
        lines = recorded("benchmark_model_v1_op_profile")
        lines += recorded("benchmark_model_v1_peak_memory_lines")
        told = figures(ran(self.tool, lines, XNNPACK))
        assert told["Inference"] == (79760.9, "us")
        assert told["Overall peak memory footprint"] == (13.1797, "MB")

    def test_a_silent_fall_back_to_the_cpu_is_refused_although_figures_are_there(self) -> None:
        lines = recorded("benchmark_model_v1_nnapi_silent_cpu_fallback")
        told = failed(self.tool, lines, NNAPI, FINE)
        assert told.outcome is Outcome.REFUSED
        assert "nnapi took none of the model's operators" in told.reason

    def test_a_part_left_on_the_cpu_is_refused_on_an_accelerator(self) -> None:
        lines = [
            line.replace("58 out of 58", "50 out of 58")
            for line in recorded("benchmark_model_v1_gpu_lines")
        ]
        assert "8 of 58 operators stayed on the CPU" in failed(self.tool, lines, GPU, FINE).reason

    def test_an_accelerator_without_evidence_is_refused(self) -> None:
        lines = recorded("benchmark_model_v2_litert_cpu")
        assert "does not tell that gpu took any" in failed(self.tool, lines, GPU, FINE).reason

    def test_a_delegate_that_fails_is_refused_in_the_tools_words(self) -> None:
        told = failed(self.tool, recorded("benchmark_model_v1_gpu_failed"), GPU)
        assert told.outcome is Outcome.REFUSED
        assert "Failed to apply GPU delegate." in told.reason

    def test_what_it_is_asked_fits_both_generations(self) -> None:
        assert self.tool.arguments(SPEC, GPU, MODEL) == [
            "--graph=/data/local/tmp/m.tflite",
            "--num_threads=2",
            "--warmup_runs=20",
            "--warmup_min_secs=0",
            "--num_runs=40",
            "--min_secs=0",
            "--max_secs=2.5",
            "--use_gpu=true",
            "--use_cpu=false",
            "--use_xnnpack=false",
            "--require_full_delegation=true",
        ]
        assert "--use_xnnpack=true" in self.tool.arguments(SPEC, XNNPACK, MODEL)
        with pytest.raises(InvalidRequest, match="no delegate 'hexagon'; it has xnnpack, none"):
            self.tool.arguments(SPEC, parse_target("litert/hexagon"), MODEL)

    def test_a_build_that_tells_nothing_is_not_taken_for_a_result(self) -> None:
        with pytest.raises(MissingExtra, match="told no figures"):
            self.tool.parse(["STARTING!"], FINE, SPEC, XNNPACK)


# What the result file holds beside the recorded output: a row for each run, of the model's folder,
# seconds, the peak of memory, the use of the CPU and the run's number (performance_runner.cc).
ROWS = [
    f"m,{seconds},271122432,11,{number}"
    for number, seconds in enumerate(("0.0958204", "0.0995086", "0.1", "9.95e-02", "0.101519"))
]


class TestPerfTest:
    tool = PerfTest()

    def test_the_newer_total_line_and_every_other_figure_are_read(self) -> None:
        run = ran(self.tool, recorded("onnxruntime_perf_test_android_cpu"), CPU)
        told = figures(run)
        assert told["Average inference time cost total"] == (98.961997, "ms")
        assert told["Peak working set size"] == (271122432, "bytes")
        assert told["P90 Latency"] == (0.101519, "s")
        assert told["First inference time cost"] == (196, "ms")
        # Whole milliseconds are shown, and no first inference is made of them.
        assert (run.load_ns, run.first_inference_ns) == (217_932_000, None)
        assert run.samples_ns == ()
        assert run.all_on == "CPUExecutionProvider"

    def test_the_older_total_line_is_read(self) -> None:
        run = ran(self.tool, recorded("onnxruntime_perf_test_old_2020"), CPU)
        assert figures(run)["Average inference time cost"] == (144.871, "ms")
        assert run.load_ns == 127_918_000

    def test_rows_of_the_result_file_are_raw_samples(self) -> None:
        lines = [*recorded("onnxruntime_perf_test_android_cpu"), *ROWS]
        run = ran(self.tool, lines, CPU, replace(SPEC, max_warmup=2, iterations=3))
        assert run.warmup_ns == (95_820_400, 99_508_600)
        assert run.samples_ns == (100_000_000, 99_500_000, 101_519_000)

    def test_rows_that_are_not_whole_are_no_samples(self) -> None:
        lines = [*recorded("onnxruntime_perf_test_android_cpu"), *ROWS[:2], *ROWS[3:]]
        assert ran(self.tool, lines, CPU).samples_ns == ()

    @pytest.mark.parametrize(
        ("words", "outcome"),
        [
            (
                "This session contains graph nodes that are assigned to the default CPU EP, but "
                "fallback to CPU EP has been explicitly disabled by the user.",
                Outcome.REFUSED,
            ),
            ("Load model from m.onnx failed:Protobuf parsing failed.", Outcome.REFUSED),
            ("std::bad_alloc", Outcome.OUT_OF_MEMORY),
        ],
    )
    def test_what_the_runtime_refuses_is_told_in_its_words(
        self, words: str, outcome: Outcome
    ) -> None:
        told = failed(self.tool, ["Setting intra_op_num_threads to 1", words], CPU)
        assert (told.outcome, told.reason) == (outcome, words)

    def test_an_accelerator_may_leave_nothing_to_the_cpu(self) -> None:
        target = parse_target("onnxruntime/nnapi/npu")
        arguments = self.tool.arguments(SPEC, target, MODEL)
        assert arguments[arguments.index("-C") + 1] == "session.disable_cpu_ep_fallback|1"
        assert arguments[arguments.index("-r") + 1] == "60"
        assert arguments[-2:] == [MODEL.model, "/proc/self/fd/1"]
        assert "-C" not in self.tool.arguments(SPEC, CPU, MODEL)

    def test_an_older_build_that_does_not_know_an_option_is_named(self) -> None:
        lines = ["ERROR: Unknown command line flag 'I'", "See 'onnxruntime_perf_test --help'."]
        with pytest.raises(MissingExtra, match="get a newer build"):
            self.tool.parse(lines, LEFT, SPEC, CPU)


def log(level: str, message: str) -> str:
    """A line as runtime/platform/default/posix.cpp prints it."""
    return f"{level} 00:00:00.035506 executorch:executor_runner.cpp:157] {message}"


# Made to the format strings of executor_runner.cpp; the recording beside them ends before.
LOADED = log("I", "Model loaded in 12.345678 ms.")
TIMES_MS = [9.0, *[5.0] * 5, *[4.0] * 5, *[4.01] * 55]
ITERATIONS = [
    log("I", f"Iteration {number} of {len(TIMES_MS)}: {ms:f} ms")
    for number, ms in enumerate(TIMES_MS, 1)
]
EXECUTED = log("I", f"Model executed successfully {len(TIMES_MS)} time(s) in {sum(TIMES_MS):f} ms.")


class TestExecutorRunner:
    tool = ExecutorRunner()
    head = recorded("executorch_executor_runner_log_head")

    def test_each_execution_is_a_raw_sample_after_the_first_and_the_warm_up(self) -> None:
        run = ran(self.tool, [*self.head, LOADED, *ITERATIONS, EXECUTED], PTE)
        assert (run.load_ns, run.first_inference_ns) == (12_345_678, 9_000_000)
        assert run.warmup_ns == (*[5_000_000] * 5, *[4_000_000] * 5, *[4_010_000] * 10)
        assert run.samples_ns == (4_010_000,) * 45
        assert figures(run)["Model executed successfully"] == (274.55, "ms")

    def test_an_older_one_gives_its_sum_and_no_samples_are_made_of_it(self) -> None:
        run = ran(self.tool, [*self.head, EXECUTED], PTE)
        assert (run.samples_ns, run.first_inference_ns, run.load_ns) == ((), None, None)
        assert figures(run)["executions"] == (66, "")

    def test_executions_that_are_not_all_there_are_no_samples(self) -> None:
        assert ran(self.tool, [*ITERATIONS[7:], EXECUTED], PTE).samples_ns == ()

    @pytest.mark.parametrize(
        "lines",
        [
            [],
            recorded("executorch_executor_runner_log_head"),
            [log("I", "Model executed successfully.")],
        ],
    )
    def test_one_that_tells_no_times_is_not_taken_for_a_result(self, lines: list[str]) -> None:
        with pytest.raises(MissingExtra, match="EXECUTORCH_PAL_DEFAULT=posix"):
            self.tool.parse(lines, FINE, SPEC, PTE)

    def test_a_failed_check_is_the_models_refusal_and_not_a_crash(self) -> None:
        words = "Loading of method forward failed with status 0x14"
        line = log("F", f"In function main(), assert failed (method.ok()): {words}")
        told = failed(self.tool, [line], PTE, Exit(-signal.SIGABRT, False, False, ""))
        assert (told.outcome, told.reason) == (Outcome.REFUSED, words)

    def test_memory_that_was_refused_is_told_apart(self) -> None:
        line = log("F", "In function main(), assert failed (method.ok()): Loading failed with 0x21")
        told = failed(self.tool, [line], PTE, Exit(-signal.SIGABRT, False, False, ""))
        assert told.outcome is Outcome.OUT_OF_MEMORY

    def test_an_unknown_flag_means_an_older_build(self) -> None:
        with pytest.raises(MissingExtra, match="has no --num_executions"):
            self.tool.parse(["ERROR: unknown command line flag 'num_executions'"], LEFT, SPEC, PTE)

    def test_it_is_asked_for_the_first_the_warm_up_and_the_timed_executions(self) -> None:
        assert self.tool.arguments(SPEC, PTE, Prepared("/m.pte")) == [
            "--model_path=/m.pte",
            "--cpu_threads=2",
            "--num_executions=61",
        ]


@pytest.mark.parametrize(
    ("tool", "target"),
    [(BenchmarkModel(), XNNPACK), (PerfTest(), CPU), (ExecutorRunner(), PTE)],
)
@pytest.mark.parametrize(
    ("ended", "outcome", "words"),
    [
        (
            Exit(-signal.SIGSEGV, False, False, "tombstone"),
            Outcome.CRASHED,
            "SIGSEGV while loading",
        ),
        (Exit(-9, False, True, ""), Outcome.TIMED_OUT, "not done after 60 s, while loading"),
        (Exit(-9, True, False, ""), Outcome.OUT_OF_MEMORY, "while loading"),
    ],
)
def test_every_tool_tells_crash_limit_and_memory_apart(
    tool: Tool, target: Target, ended: Exit, outcome: Outcome, words: str
) -> None:
    told = failed(tool, ["STARTING!"], target, ended)
    assert told.outcome is outcome
    assert words in told.reason


def test_warm_up_of_raw_samples_ends_by_our_own_rule() -> None:
    falling = [*[900] * 5, *[500] * 5, *[495] * 5, *[300] * 50]
    assert settled(falling, 50) == 35
    assert settled(falling, 12) == 12
    assert settled(falling, 0) == 0
    warm, rest = split(falling, MeasureSpec(max_warmup=50, iterations=60))
    assert (len(warm), len(rest)) == (5, 60)


def test_the_named_tool_runs_what_belongs_to_it() -> None:
    chosen = plugins.runner(Runtime.LITERT, "benchmark_model")
    assert isinstance(chosen, ToolRunner)
    assert chosen.tool.name == "benchmark_model"
    assert not isinstance(plugins.runner(Runtime.LITERT), ToolRunner)


def test_executorch_runs_by_its_makers_tool_alone() -> None:
    chosen = plugins.runner(Runtime.EXECUTORCH)
    assert isinstance(chosen, ToolRunner)
    assert chosen.tool.name == "executor_runner"


@pytest.mark.parametrize(
    ("runtime", "name", "words"),
    [
        (Runtime.ONNXRUNTIME, "benchmark_model", "is of litert and cannot run artifacts of onnx"),
        (Runtime.LITERT, "bench", "no tool 'bench'; there are benchmark_model"),
    ],
)
def test_a_tool_of_another_runtime_is_refused_by_name(
    runtime: Runtime, name: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        plugins.runner(runtime, name)


def host(folder: Path, script: str) -> HostDriver:
    """This computer with a program in the place of ``benchmark_model``."""
    shell = ("/bin/sh", "-c", script, "benchmark_model")
    return HostDriver(folder / "host", memory_bytes=1 << 30, programs={"benchmark_model": shell})


async def launched(driver: HostDriver, model: Path) -> ToolRan | LaunchFailure:
    job, files = request(model, "litert/xnnpack")
    runner = plugins.runner(Runtime.LITERT, "benchmark_model")
    async with driver:
        prepared = await runner.prepare(driver, job, files)
        result = await runner.launch(driver, job, prepared)
    assert not isinstance(result, Launched)
    return result


async def test_a_job_by_a_tool_ends_in_its_figures_and_no_launches(tmp_path: Path) -> None:
    script = f"cat {GOLDEN / 'benchmark_model_v1_logcat_app.txt'}"
    job, files = request(MODELS / "cnn.tflite", "litert/xnnpack", tool="benchmark_model")
    runner = plugins.runner(job.target.runtime, job.spec.tool)
    measurement = await run_job(
        probed(host(tmp_path, script)), runner, Assign(LEASE, job), files, lambda *_: None
    )
    assert (measurement.outcome, measurement.launches) == (Outcome.OK, ())
    assert len(measurement.tool_runs) == 2
    assert figures(measurement.tool_runs[1])["inference avg"] == (145528, "us")
    assert measurement.energy.gross_mj is None


async def test_the_tool_gets_the_model_and_what_it_says_on_either_stream_counts(
    tmp_path: Path,
) -> None:
    # The model must be there; the figures come on the standard error.
    script = (
        'for word in "$@"; do case $word in --graph=*) '
        'test -s "${word#--graph=}" || exit 9;; esac; '
        f"done; cat {GOLDEN / 'benchmark_model_v1_cpu.txt'} >&2"
    )
    result = await launched(host(tmp_path, script), MODELS / "cnn.tflite")
    assert isinstance(result, ToolRan)
    assert result.run.load_ns == 20_283_000


async def test_an_endless_output_is_kept_to_its_last_lines(tmp_path: Path) -> None:
    script = f"seq 1 100000; cat {GOLDEN / 'benchmark_model_v1_cpu.txt'}"
    assert isinstance(await launched(host(tmp_path, script), MODELS / "cnn.tflite"), ToolRan)


async def test_cancelling_a_tool_leaves_nothing_running(tmp_path: Path) -> None:
    launch = asyncio.create_task(launched(host(tmp_path, "sleep 600"), MODELS / "cnn.tflite"))
    async with asyncio.timeout(20):
        while len(psutil.Process().children(recursive=True)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert psutil.Process().children(recursive=True) == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"expected_digest": "sha256:1"}, "compares no outputs"),
        ({"cold_start": ColdStart.FIRST_EVER}, "cannot start as cold as first_ever"),
    ],
)
async def test_what_no_tool_can_do_is_refused_before_anything_runs(
    asked: dict[str, object], words: str, tmp_path: Path
) -> None:
    job, files = request(MODELS / "cnn.tflite", "litert/xnnpack")
    job = replace(job, spec=replace(job.spec, **asked))  # type: ignore[arg-type]
    driver = host(tmp_path, "exit 0")
    async with driver:
        with pytest.raises(InvalidRequest, match=words):
            await ToolRunner(BenchmarkModel()).prepare(driver, job, files)


def test_what_the_probe_found_out_holds_for_a_tool_and_the_untried_is_tried() -> None:
    runner = ToolRunner(BenchmarkModel())
    refused = RuntimeSupport(GPU, "2.3", "no OpenCL here")
    assert runner.refusal(replace(info(), runtimes=(refused,)), GPU) == "no OpenCL here"
    assert runner.refusal(info("onnxruntime"), GPU) is None
