"""What the words of a launch and the end of its process mean."""

import json
import signal
from collections.abc import AsyncIterator

import pytest

from distillfarm.agent.protocols import Exit, Launched, LaunchFailure, Window
from distillfarm.agent.runners.reports import Report, follow, judge
from distillfarm.domain.errors import InternalError, InvalidRequest, MissingExtra
from distillfarm.domain.job import ColdStart, MeasureSpec, Mode
from distillfarm.domain.measurement import Outcome

RUNTIME = {"event": "runtime", "version": "9.9", "runtime_ns": 1}
LOADED = {"event": "loaded", "load_ns": 1}
FIRST = {"event": "first", "first_inference_ns": 1}
FINISHED = {
    "event": "finished",
    "first_output_ns": 9,
    "runtime_ns": 1,
    "load_ns": 2,
    "first_inference_ns": 3,
    "warmup_ns": [4],
    "samples_ns": [5, 6],
    "sampling_began_ns": 1_000_000_000,
    "sampling_ended_ns": 3_000_000_000,
    "memory": {
        "peak_method": "VmHWM",
        "baseline_bytes": 1,
        "loaded_bytes": 2,
        "peak_bytes": 3,
        "resident_method": "",
        "resident_bytes": None,
    },
    "placements": [{"unit": "XNNPACK", "nodes": 4}],
    "errors": [],
    "version": "9.9",
}
SPEC = MeasureSpec(launch_timeout_s=7.0)
FINE = Exit(0, False, False, "")


class SaidRun:
    """A process that has said its words already."""

    pid = 1

    def __init__(self, lines: list[str], ended: Exit, clock_offset_s: float | None = 0.0) -> None:
        self._lines = lines
        self._ended = ended
        self.clock_offset_s = clock_offset_s
        self.killed = False

    async def lines(self) -> AsyncIterator[str]:
        for line in self._lines:
            yield line

    async def wait(self) -> Exit:
        return self._ended

    async def kill(self) -> None:
        self.killed = True


async def report(*events: object, ended: Exit = FINE) -> Report:
    run = SaidRun([json.dumps(each) for each in events], ended)
    told = await follow(run)
    assert run.killed
    return told


async def failure(*events: object, ended: Exit = FINE) -> LaunchFailure:
    judged = judge(await report(*events, ended=ended), SPEC)
    assert isinstance(judged, LaunchFailure)
    return judged


async def test_a_finished_launch_keeps_its_raw_samples_and_window() -> None:
    told = await report(RUNTIME, LOADED, FIRST, FINISHED)
    assert told.version == "9.9"
    judged = judge(told, SPEC)
    assert isinstance(judged, Launched)
    assert judged.launch.samples_ns == (5, 6)
    assert judged.launch.max_abs_error is None
    assert judged.window is not None
    assert (judged.window.begin_s, judged.window.end_s, judged.window.inferences) == (1.0, 3.0, 2)
    assert (judged.launch.inferences, judged.launch.sampling_s) == (2, 2.0)


async def test_a_launch_that_kept_some_samples_tells_of_all_inferences() -> None:
    judged = judge(await report({**FINISHED, "inferences": 9000}), SPEC)
    assert isinstance(judged, Launched)
    assert (len(judged.launch.samples_ns), judged.launch.inferences) == (2, 9000)
    assert judged.window is not None
    assert judged.window.inferences == 9000


async def test_a_long_launch_may_take_its_inferring_besides_its_time_out() -> None:
    ended = Exit(-9, False, True, "", "time")
    long = MeasureSpec(launch_timeout_s=7.0, mode=Mode.SUSTAINED, duration_s=600.0)
    judged = judge(await report(RUNTIME, ended=ended), long)
    assert isinstance(judged, LaunchFailure)
    assert "after 607 s" in judged.reason


@pytest.mark.parametrize(("offset_s", "begin_s"), [(-0.25, 0.75), (40.0, 41.0)])
async def test_the_window_is_put_on_the_agents_clock(offset_s: float, begin_s: float) -> None:
    run = SaidRun([json.dumps(FINISHED)], FINE, offset_s)
    judged = judge(await follow(run), SPEC)
    assert isinstance(judged, Launched)
    assert judged.window == Window(begin_s, begin_s + 2.0, 2)


async def test_clocks_that_cannot_be_compared_give_no_window() -> None:
    judged = judge(await follow(SaidRun([json.dumps(FINISHED)], FINE, None)), SPEC)
    assert isinstance(judged, Launched)
    assert judged.window is None


async def test_the_launch_tells_how_cold_it_was() -> None:
    told = {**FINISHED, "cold_start": "page_cache_dropped", "page_cache_resident": 0.25}
    judged = judge(await report(told), SPEC)
    assert isinstance(judged, Launched)
    assert judged.launch.cold_start is ColdStart.PAGE_CACHE_DROPPED
    assert judged.launch.page_cache_resident == 0.25


async def test_noise_between_the_lines_does_not_count() -> None:
    run = SaidRun(["hello", "[]", '{"event": "other"}', json.dumps(FINISHED)], FINE)
    assert isinstance(judge(await follow(run), SPEC), Launched)


@pytest.mark.parametrize(
    ("largest", "magnitude", "right"),
    [(0.05, 10.0, True), (0.2, 10.0, False), (0.005, 0.0, True), (0.02, 0.0, False)],
)
async def test_tolerance_is_relative_to_the_magnitude(
    largest: float, magnitude: float, right: bool
) -> None:
    error = {"name": "y", "largest": largest, "magnitude": magnitude}
    judged = judge(await report({**FINISHED, "errors": [error]}), MeasureSpec(tolerance=0.01))
    assert isinstance(judged, Launched) is right
    assert judged.launch is not None
    assert judged.launch.max_abs_error == largest


@pytest.mark.parametrize(
    ("events", "ended", "outcome", "words"),
    [
        (
            [RUNTIME],
            Exit(-11, False, False, ""),
            Outcome.CRASHED,
            "SIGSEGV while loading the model",
        ),
        ([RUNTIME, LOADED], Exit(-6, False, False, "x\nwhy"), Outcome.CRASHED, "inference: why"),
        ([], Exit(-signal.SIGILL, False, False, ""), Outcome.CRASHED, "while loading the runtime"),
        ([RUNTIME], Exit(-9, False, True, "", "time"), Outcome.TIMED_OUT, "after 7 s, while load"),
        ([FIRST], Exit(-9, True, False, "", "memory"), Outcome.OUT_OF_MEMORY, "timed inferences"),
        ([RUNTIME], Exit(-9, False, False, "", "disk"), Outcome.CRASHED, "limit of disk"),
        ([RUNTIME], Exit(0, False, False, ""), Outcome.CRASHED, "without an answer"),
        ([RUNTIME], Exit(7, False, False, "bye"), Outcome.CRASHED, "exit code 7"),
    ],
)
async def test_an_early_end_says_what_and_when(
    events: list[object], ended: Exit, outcome: Outcome, words: str
) -> None:
    told = await failure(*events, ended=ended)
    assert told.outcome is outcome
    assert words in told.reason


async def test_a_reason_is_one_line_without_control_characters() -> None:
    told = await failure(RUNTIME, {"event": "refused", "reason": "no\n\x1b[31mkernel" + "x" * 9999})
    assert told.outcome is Outcome.REFUSED
    assert told.reason.startswith("no")
    assert len(told.reason) <= 400
    assert told.reason.isprintable()


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"event": "bad_inputs", "reason": "no x"}, InvalidRequest),
        ({"event": "missing", "reason": "No module named 'onnxruntime'"}, MissingExtra),
    ],
)
async def test_what_is_not_the_models_fault_is_raised(
    event: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        judge(await report(RUNTIME, event), SPEC)


@pytest.mark.parametrize("events", [[], [RUNTIME, LOADED]])
async def test_a_traceback_of_the_program_is_our_own_fault(events: list[object]) -> None:
    tail = "Traceback (most recent call last):\n  ...\nKeyError: 'x'"
    with pytest.raises(InternalError, match="KeyError: 'x'"):
        judge(await report(*events, ended=Exit(1, False, False, tail)), SPEC)
