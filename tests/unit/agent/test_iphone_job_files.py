"""The files between the agent and an iPhone's app, by the golden files that Swift reads, too."""

import json
from pathlib import Path

import msgspec
import pytest

from distillfarm.agent.drivers.ios import job_files
from distillfarm.agent.program.order import Order
from distillfarm.agent.protocols import Exit, Launched, LaunchFailure
from distillfarm.agent.runners import reports
from distillfarm.domain.errors import (
    DigestMismatch,
    FarmError,
    InternalError,
    InvalidRequest,
    MissingExtra,
    WrongState,
)
from distillfarm.domain.job import ColdStart, MeasureSpec
from distillfarm.domain.measurement import Outcome

GOLDEN = Path(__file__).parents[2] / "golden" / "iphone_jobs"
HOSTILE = GOLDEN / "hostile"
LEFT = Exit(code=0, out_of_memory=False, timed_out=False, stderr_tail="")


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def job_for(name: str) -> job_files.JobFile:
    last = name.rpartition("_")[2]
    kind = last if last in ("coreml", "coreai") else "onnxruntime"
    return job_files.decode_job(golden(f"job_{kind}"))


def result(name: str) -> job_files.ResultFile:
    return job_files.decode_result(golden(f"result_{name}"), job_for(name))


def names(pattern: str, folder: Path = GOLDEN) -> list[str]:
    found = sorted(each.stem for each in folder.glob(pattern))
    assert found, pattern
    return found


@pytest.mark.parametrize("name", names("job_*.json"))
def test_a_job_is_written_as_it_was_read(name: str) -> None:
    job = job_files.decode_job(golden(name))
    assert json.loads(job_files.encode(job)) == json.loads(golden(name))
    assert job_files.decode_job(job_files.encode(job)) == job


@pytest.mark.parametrize("name", names("status_*.json"))
def test_a_status_is_written_as_it_was_read(name: str) -> None:
    status = job_files.decode_status(golden(name), job_for(name))
    assert json.loads(job_files.encode(status)) == json.loads(golden(name))


@pytest.mark.parametrize(
    "name", [each for each in names("result_*.json") if each != "result_other_model"]
)
def test_a_result_is_written_as_it_was_read(name: str) -> None:
    found = job_files.decode_result(golden(name), job_for(name))
    assert json.loads(job_files.encode(found)) == json.loads(golden(name))


@pytest.mark.parametrize("name", names("job_*.json", HOSTILE))
def test_a_hostile_job_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"job\.json"):
        job_files.decode_job((HOSTILE / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", names("result_*.json", HOSTILE))
def test_a_hostile_result_counts_for_nothing(name: str) -> None:
    with pytest.raises(FarmError, match=r"result\.json|on the phone is"):
        job_files.decode_result((HOSTILE / f"{name}.json").read_bytes(), job_for(name))


@pytest.mark.parametrize("name", names("status_*.json", HOSTILE))
def test_a_hostile_status_counts_for_nothing(name: str) -> None:
    with pytest.raises(FarmError, match=r"status\.json"):
        job_files.decode_status((HOSTILE / f"{name}.json").read_bytes(), job_for(name))


def test_an_answer_to_an_earlier_launch_is_told_apart_from_a_broken_one() -> None:
    job = job_for("status")
    with pytest.raises(WrongState, match="earlier launch"):
        job_files.decode_status((HOSTILE / "status_foreign_nonce.json").read_bytes(), job)
    with pytest.raises(InternalError, match="install this agent's app"):
        job_files.decode_status((HOSTILE / "status_of_text.json").read_bytes(), job)


def test_another_model_on_the_phone_is_pushed_again() -> None:
    with pytest.raises(DigestMismatch, match="push it again") as caught:
        result("other_model")
    assert caught.value.retryable


def test_an_answer_of_endless_length_is_not_read() -> None:
    padded = golden("status_begun") + b" " * job_files.LARGEST_BYTES
    with pytest.raises(InternalError, match="more than any"):
        job_files.decode_status(padded, job_for("status"))


def test_an_order_becomes_a_job_and_an_impossible_cold_start_is_refused() -> None:
    order = Order("coreml", "all", "files/model.mlpackage.tar", "", "", 1, 50, 200, 2.0)
    job = job_files.job_of(order, "a1", "0" * 32, "a" * 64)
    assert (job.delegate, job.cold, job.inputs) == ("all", ColdStart.NEW_PROCESS, "")
    with pytest.raises(InvalidRequest, match="drops no pages"):
        job_files.job_of(order._replace(cold="page_cache_dropped"), "a1", "0" * 32, "a" * 64)


def judged(name: str, tolerance: float = 0.01) -> Launched | LaunchFailure:
    """What the lines of an answer mean to the same judge as everywhere."""
    decoded = [
        msgspec.json.decode(line, type=reports.Event)
        for line in job_files.lines(result(name).events)
    ]
    return reports.judge(
        reports.Report(tuple(decoded), LEFT, None), MeasureSpec(tolerance=tolerance)
    )


def test_a_launch_on_an_iphone_is_judged_like_any_other() -> None:
    told = judged("coreml")
    assert isinstance(told, Launched)
    assert told.launch.cold_start is ColdStart.FIRST_EVER
    assert told.launch.memory.peak_method == "physFootprint"
    assert told.launch.placements == ()
    wrong = judged("onnxruntime")
    assert isinstance(wrong, LaunchFailure)
    assert wrong.outcome is Outcome.INCORRECT


def test_what_a_compute_plan_predicts_is_no_evidence() -> None:
    told = result("coreml")
    assert [each.unit for each in told.predicted] == ["NeuralEngine", "CPU"]
    assert told.compile_ns == 812345678
    assert isinstance(told.events[-1], reports.Finished)
    assert told.events[-1].placements == ()


@pytest.mark.parametrize(
    ("name", "outcome", "where"),
    [
        ("refused", Outcome.REFUSED, "an operator is not known"),
        ("out_of_memory", Outcome.OUT_OF_MEMORY, "in the first inference: allocation"),
    ],
)
def test_what_a_model_did_is_its_outcome(name: str, outcome: Outcome, where: str) -> None:
    failure = judged(name)
    assert isinstance(failure, LaunchFailure)
    assert failure.outcome is outcome
    assert where in failure.reason


def test_what_the_caller_or_the_app_lacks_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="takes shape"):
        judged("bad_inputs")
    with pytest.raises(MissingExtra, match="not linked into this app"):
        judged("missing")
