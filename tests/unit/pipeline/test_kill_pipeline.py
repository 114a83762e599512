"""kill -9 of the real pipeline and worker processes around a toy workshop, at every stage."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from toy_farm import Toy
from toy_processes import ToyProcesses

from distillfarm.controller.bundle import unpack, verify
from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.domain.study import StudyState

pytestmark = pytest.mark.slow

TOY = Toy(ingest_s=0.8, pass_s=0.8, launch_s=0.1)
MOMENTS = {
    "in ingest": "controller up",
    "in a pass": "begin original+distill(width=0.5)",
    "in a measurement": "measure ",
    "between rounds": "begin original+distill(width=0.25)",
}


def assert_whole(farm: ToyProcesses, study_id: str, out: Path) -> None:
    """Nothing lost, nothing twice, and a bundle that holds."""
    study = farm.wait_final(study_id)
    assert (study.state, study.error) == (StudyState.DONE, "")
    trials = farm.trials(study_id)
    candidates = Counter((each.candidate, each.final) for each in trials)
    assert max(candidates.values()) == 1
    assert sum(not each.final for each in trials) == 4
    assert sum(each.final for each in trials) == 2
    assert all(each.measurement_ids for each in trials)
    measured = Counter(id_ for each in trials if each.final for id_ in each.measurement_ids)
    assert max(measured.values()) == 1
    jobs = Counter(each for each in farm.lines() if each.startswith("measure "))
    assert max(jobs.values()) == 1
    known = farm.store.measurements(MeasurementQuery(study_id=study_id))
    used = {id_ for each in trials for id_ in each.measurement_ids}
    assert {each.measurement_id for each in known} == used
    (choice,) = study.choices
    assert choice.spent is not None
    assert choice.spent.measurements == len(known)
    assert [each.launches for each in choice.phones] == [9]
    assert study.bundle is not None
    unpack(farm.blobs.path(study.bundle.digest), out)
    assert verify(out).ok


@pytest.mark.parametrize("victim", ["controller", "worker-1"])
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_a_killed_process_goes_on_where_it_was(tmp_path: Path, victim: str, moment: str) -> None:
    with ToyProcesses(tmp_path, TOY) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1", trials=4)
        farm.wait_line(MOMENTS[moment])
        farm.kill(victim)
        farm.start(victim)
        assert_whole(farm, "study-1", tmp_path / "out")
        # What was done before the kill was not done again; only what was under way.
        begun = Counter(each for each in farm.lines() if each.startswith("apply"))
        assert max(begun.values()) == 1


def test_a_controller_killed_while_it_bundles_delivers_once(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, TOY) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1", trials=4)
        farm.wait(
            lambda: any(each.stage == "bundle" for each in farm.events("study-1")), "the bundle"
        )
        farm.kill("controller")
        farm.start("controller")
        assert_whole(farm, "study-1", tmp_path / "out")


def test_the_work_of_a_worker_that_stays_away_is_taken_over(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, replace(TOY, silence_s=4.0)) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1", trials=4)
        farm.wait_line("begin original+distill(width=0.5)")
        farm.kill("worker-1")
        farm.start("worker-2")
        assert_whole(farm, "study-1", tmp_path / "out")


def test_everything_may_die_at_once_and_again(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, TOY) as farm:
        farm.create("study-1", trials=4)
        for moment in ("begin original+int8_static", "begin original+distill", "measure "):
            farm.start("controller", "worker-1")
            farm.wait_line(moment)
            farm.kill("controller")
            farm.kill("worker-1")
        farm.start("controller", "worker-1")
        assert_whole(farm, "study-1", tmp_path / "out")


def test_a_polite_stop_loses_nothing_either(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, TOY) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1", trials=4)
        farm.wait_line("begin original+distill(width=0.5)")
        assert farm.stop("worker-1") == 0
        assert farm.stop("controller") == 0
        assert not farm.store.study("study-1").state.final
        farm.start("controller", "worker-1")
        assert_whole(farm, "study-1", tmp_path / "out")
