"""The matrix says what was measured, and nothing that was not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import farm_samples as samples
import pytest
from made_trials import make_trial

from distillfarm.controller.matrix import cells
from distillfarm.controller.readings import Reading, evidence_of, reading
from distillfarm.controller.store.sql import SqlStore
from distillfarm.domain.agent import JobResult
from distillfarm.domain.errors import NotFound
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import (
    ContextEntry,
    Energy,
    Launch,
    Measurement,
    Outcome,
    Reported,
    ToolRun,
)
from distillfarm.domain.study import Score, Trial
from distillfarm.domain.variant import Candidate, Recipe, Refusal

CHIPSET = "Google Tensor G2"
STEADY = (samples.launch(),) * 3
WILD = (samples.launch(1_000_000), samples.launch(3_000_000))
ONE = Interval(1.0, 1.0, 1.0)
SCORE = Score(ONE, ONE, 100, ONE, ONE, ONE, ONE, ONE, Energy(reason="no meter"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path / 'farm.db'}")
    store.report_devices("agent", [samples.device_info()], 0.0)
    store.create_study("study-1", samples.study_spec("digits"), 0.0)
    yield store
    store.close()


def measured(
    store: SqlStore,
    key: str,
    *,
    study_id: str = "study-1",
    launches: tuple[Launch, ...] = STEADY,
    outcome: Outcome = Outcome.OK,
    emulated: bool = False,
    name: str = "digits.onnx",
    tool_runs: tuple[ToolRun, ...] = (),
    os_build: str = "build-of-then",
) -> Measurement:
    """A measurement that the store took under a lease."""
    job = store.submit(samples.request(key, study_id=study_id, name=name), 0.0)
    (lease,) = store.grant([(job.job_id, store.devices()[0].device_id)], 0.0, 30.0)
    reason = "" if outcome is Outcome.OK else "SIGSEGV"
    taken = replace(
        samples.measurement(lease, outcome=outcome, reason=reason),
        launches=launches,
        emulated=emulated,
        tool_runs=tool_runs,
        started_at_s=float(lease.token),
        context=(ContextEntry("os_build", os_build),),
    )
    store.finish(JobResult(lease, taken), 0.0, 3)
    return taken


def trial(name: str, measurement: Measurement | None = None, *, final: bool = True) -> Trial:
    """A trial with what came out of it."""
    made = Trial(f"trial-{name}", "study-1", CHIPSET, Candidate(Recipe(), samples.ONNX))
    if measurement is None:
        return replace(made, final=final)
    return replace(
        made,
        final=final,
        measurement_ids=(measurement.measurement_id,),
        outcome=measurement.outcome,
        outcome_reason=measurement.reason,
        score=SCORE if measurement.outcome is Outcome.OK else None,
    )


def test_a_measured_candidate_has_its_score_and_its_context(store: SqlStore) -> None:
    measurement = measured(store, "key")
    store.put_trial(trial("a", measurement))
    (cell,) = cells(store)
    assert (cell.label, cell.score, cell.reason) == ("OK", SCORE, "")
    assert (cell.study_id, cell.model_name, cell.recipe) == ("study-1", "digits.onnx", "original")
    assert (cell.device_model, cell.os_build) == ("Pixel 7", "build-of-then")
    assert cell.measurement_id == measurement.measurement_id
    assert cell.measured_at_s == measurement.started_at_s


@pytest.mark.parametrize(
    ("label", "reason", "launches", "outcome", "emulated"),
    [
        ("UNSTABLE", "limit of host CPUs is 15%", WILD, Outcome.OK, False),
        ("EMULATED", "emulated device", STEADY, Outcome.OK, True),
        ("EMULATED", "emulated device", (), Outcome.CRASHED, True),
        ("CRASHED", "SIGSEGV", (), Outcome.CRASHED, False),
        ("INCORRECT", "SIGSEGV", STEADY, Outcome.INCORRECT, False),
    ],
)
def test_what_is_no_number_is_shown_as_none(
    store: SqlStore,
    *,
    label: str,
    reason: str,
    launches: tuple[Launch, ...],
    outcome: Outcome,
    emulated: bool,
) -> None:
    taken = measured(store, "key", launches=launches, outcome=outcome, emulated=emulated)
    store.put_trial(replace(trial("a", taken), score=SCORE))
    (cell,) = cells(store)
    assert (cell.label, cell.score) == (label, None)
    assert reason in cell.reason


def test_what_was_not_measured_says_why(store: SqlStore) -> None:
    refused = replace(trial("a"), refusal=Refusal("int8_static", "LSTM is not supported"))
    store.put_trial(refused)
    (cell,) = cells(store)
    assert (cell.label, cell.reason) == ("not measured", "int8_static: LSTM is not supported")
    store.put_trial(replace(trial("a"), outcome_reason="no device was free"))
    (cell,) = cells(store)
    assert (cell.label, cell.reason, cell.score) == ("not measured", "no device was free", None)


def pooled(*measurements: Measurement) -> Trial:
    """A trial that was built, with several measurements."""
    ids = tuple(each.measurement_id for each in measurements)
    return replace(
        trial("a", measurements[-1]), measurement_ids=ids, exported=make_trial().exported
    )


def test_measurements_of_one_series_are_one_row_by_all_their_launches(store: SqlStore) -> None:
    slow = (samples.launch(1_100_000),) * 2
    store.put_trial(pooled(measured(store, "one"), measured(store, "two", launches=slow)))
    (cell,) = cells(store)
    assert (cell.label, cell.reason) == ("OK", "5 launches of 2 measurements")
    assert cell.score is not None
    assert cell.score.warm_p90_ms.value == 1.0
    assert cell.score.warm_p90_ms.high >= 1.1


def test_launches_that_only_together_disagree_are_unstable(store: SqlStore) -> None:
    slow = (samples.launch(3_000_000),) * 3
    store.put_trial(pooled(measured(store, "one"), measured(store, "two", launches=slow)))
    (cell,) = cells(store)
    assert (cell.label, cell.score) == ("UNSTABLE", None)


def test_another_system_build_is_another_row_and_is_never_pooled(store: SqlStore) -> None:
    slow = (samples.launch(3_000_000),) * 3
    before = measured(store, "before")
    updated = measured(store, "after", launches=slow, os_build="build-of-now")
    made = pooled(before, updated)
    store.put_trial(made)
    rows = [(each.os_build, each.score.warm_p50_ms.value) for each in cells(store) if each.score]
    assert rows == [("build-of-then", 1.0), ("build-of-now", 3.0)]
    evidence = evidence_of(store, made)
    assert evidence is not None
    assert (evidence.launches, evidence.score.warm_p50_ms.value) == (3, 3.0)


def test_single_benchmarks_before_and_after_an_update_are_two_rows(store: SqlStore) -> None:
    measured(store, "before", study_id="")
    measured(store, "after", study_id="", os_build="build-of-now")
    assert [each.os_build for each in cells(store)] == ["build-of-then", "build-of-now"]


def test_the_final_measurement_stands_for_a_candidate(store: SqlStore) -> None:
    search = measured(store, "search")
    final = measured(store, "final")
    store.put_trial(trial("final", final))
    store.put_trial(trial("search", search, final=False))
    (cell,) = cells(store)
    assert cell.measurement_id == final.measurement_id


def test_single_benchmarks_appear_with_their_newest_measurement(store: SqlStore) -> None:
    measured(store, "old", study_id="")
    newest = measured(store, "new", study_id="")
    measured(store, "nameless", study_id="", name="")
    (cell,) = cells(store)
    assert (cell.study_id, cell.label) == ("", "OK")
    assert (cell.measurement_id, cell.chipset) == (newest.measurement_id, CHIPSET)


def test_a_tool_s_figures_are_a_row_without_numbers(store: SqlStore) -> None:
    told = ToolRun("benchmark_model", (Reported("avg", 947.1, "us"),))
    taken = measured(store, "key", study_id="", launches=(), tool_runs=(told,))
    (cell,) = cells(store)
    assert (cell.label, cell.score) == ("TOOL", None)
    assert "benchmark_model" in cell.reason
    assert reading(store, taken.measurement_id) == Reading(taken, None)


def test_an_emulated_device_gives_no_summary(store: SqlStore) -> None:
    real, emulated = measured(store, "real"), measured(store, "emulated", emulated=True)
    assert reading(store, real.measurement_id).summary is not None
    assert reading(store, emulated.measurement_id).summary is None


def test_filters(store: SqlStore) -> None:
    store.put_trial(trial("a", measured(store, "key")))
    measured(store, "single", study_id="", name="other.onnx")
    assert len(cells(store)) == 2
    assert [each.model_name for each in cells(store, study_id="study-1")] == ["digits.onnx"]
    assert [each.model_name for each in cells(store, model_name="other.onnx")] == ["other.onnx"]
    assert len(cells(store, chipset=CHIPSET.lower())) == 2
    assert cells(store, chipset="Apple A16") == []
    with pytest.raises(NotFound):
        cells(store, study_id="study-0")
