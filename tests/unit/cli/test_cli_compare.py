"""``distillfarm compare``: what is asked for, what is said, and how it ends."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cli_lab import LEASE, OTHER_NS, OWN_NS, Lab, Run
from farm_samples import DIGEST, LITERT, ONNX, raced

from distillfarm.client.comparing import Compared
from distillfarm.controller.comparing import in_turn
from distillfarm.domain.hardware import Platform
from distillfarm.domain.job import Mode
from distillfarm.domain.measurement import Outcome

SLOWER = in_turn(raced(LEASE, OWN_NS, OTHER_NS), Platform.HOST)
SAME = in_turn(raced(LEASE, OWN_NS, OWN_NS[::-1]), Platform.HOST)
SECOND = "sha256:" + "2" * 64


@pytest.fixture(autouse=True)
def files(run_cli: Run, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx", "c.tflite"):
        (tmp_path / name).write_bytes(b"model")


def test_what_is_slower_is_said_first_by_how_much_and_drawn(lab: Lab, run_cli: Run) -> None:
    lab.found = SLOWER
    result = run_cli("compare", "a.onnx", "b.onnx")
    assert result.exit_code == 0
    head, *rest = result.stdout.splitlines()
    assert head.startswith("B b.onnx against A a.onnx, launched in turn on device-1")
    assert "SLOWER, warm p50 +100.0 % [" in head
    shown = "\n".join(rest)
    for text in ("warm p90", "cold start", "load and compile", "peak memory", "99 % of a differ"):
        assert text in shown
    assert "less than 15% would show nothing" in shown
    (own, other) = (line for line in rest if line.startswith(("A ", "B ")))
    assert own.rstrip().endswith("·" * 18)
    assert other.split()[1].startswith("·" * 18)


def test_no_difference_is_said_with_the_launches_that_would_probably_show_it(
    lab: Lab, run_cli: Run
) -> None:
    lab.found = tuple(replace(each, more_launches=40) for each in SAME)
    shown = run_cli("compare", "a.onnx", "a.onnx").stdout
    assert "no difference shown in warm latency" in shown.splitlines()[0]
    assert "it would probably be shown by" in shown
    assert "about 40 more launches of each" in shown


def test_names_tell_the_targets_and_options_become_the_spec(lab: Lab, run_cli: Run) -> None:
    lab.found = SAME
    options = "--on platform=host --launches 20 --max-launches 60 --width 0.05 --cooldown 1"
    options += " --mode single-stream --duration 90"
    assert run_cli("compare", "a.onnx", "c.tflite", *options.split()).exit_code == 0
    ((first, second, target, other, selector, spec),) = lab.compared
    assert (first, second) == (Path("a.onnx"), Path("c.tflite"))
    assert (target, other, selector) == (ONNX, LITERT, "platform=host")
    assert (spec.launches, spec.max_launches, spec.width) == (20, 60, 0.05)
    assert (spec.mode, spec.duration_s, spec.cooldown_s) == (Mode.SINGLE_STREAM, 90.0, 1.0)


def test_a_digest_needs_a_target_and_b_may_have_its_own(lab: Lab, run_cli: Run) -> None:
    lab.found = SAME
    refused = run_cli("compare", DIGEST, "b.onnx")
    assert refused.exit_code == 1
    assert "a digest needs --target" in refused.stderr
    chosen = ("--target", "onnxruntime", "--target-b", "litert")
    assert run_cli("compare", DIGEST, SECOND, *chosen).exit_code == 0
    assert lab.compared[0][:4] == (DIGEST, SECOND, ONNX, LITERT)


def test_two_measurements_are_compared_as_they_are(lab: Lab, run_cli: Run) -> None:
    lab.found = tuple(replace(each, interleaved=False) for each in SLOWER)
    result = run_cli("compare", "measurement-1", "measurement-2")
    assert result.exit_code == 0
    assert lab.compared == [("measurement-1", "measurement-2")]
    assert "measured apart" in result.stdout


def test_measurements_that_cannot_be_compared_are_one_line(lab: Lab, run_cli: Run) -> None:
    result = run_cli("compare", "measurement-1", "measurement-2")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "distillfarm: measurement-1 and measurement-2 cannot be compared: other chipset"
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("measurement-1", "a.onnx"), "a measurement is compared with a measurement"),
        (("measurement-1", "measurement-2", "--target", "litert"), "measurements have theirs"),
        (("a.onnx", "none.onnx"), "no such file"),
        (("a.onnx", "b.onnx", "--target", "litert"), "litert takes tflite"),
        (("a.onnx", "b.onnx", "--width", "0.05"), "need --max-launches"),
        (("a.onnx", "b.onnx", "--duration", "9"), "--duration is for --mode"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    lab: Lab, run_cli: Run, arguments: tuple[str, ...], reason: str
) -> None:
    result = run_cli("compare", *arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert lab.compared == []


def test_a_pipeline_can_fail_on_slower_alone(lab: Lab, run_cli: Run) -> None:
    lab.found = SLOWER
    result = run_cli("compare", "a.onnx", "b.onnx", "--fail-if", "slower")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1] == "distillfarm: B is slower in warm p50 and warm p90"
    lab.found = SAME
    assert run_cli("compare", "a.onnx", "b.onnx", "--fail-if", "slower").exit_code == 0


def test_a_side_that_did_not_end_well_is_told_and_ends_with_3(lab: Lab, run_cli: Run) -> None:
    lab.more = {"outcome": Outcome.CRASHED, "reason": "signal 11\x1b[2J"}
    result = run_cli("compare", "a.onnx", "b.onnx")
    assert result.exit_code == 3
    assert "A: crashed: signal 11 [2J" in result.stdout


def test_json_has_both_sides_whole(lab: Lab, run_cli: Run) -> None:
    lab.found = SLOWER
    result = run_cli("compare", "a.onnx", "b.onnx", "--json")
    compared = msgspec.json.decode(result.stdout, type=Compared)
    assert compared.comparisons == SLOWER
    assert [len(each.launches) for each in compared.sides] == [12, 12]
