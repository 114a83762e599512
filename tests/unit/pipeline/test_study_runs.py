"""Whole studies on the real queue and store, with stand-ins for the workshop and the devices."""

from collections import Counter
from pathlib import Path

import pytest
from toy_farm import Toy
from toy_processes import ToyProcesses

from distillfarm.controller.bundle import unpack, verify
from distillfarm.controller.matrix import cells
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.study import StudyState, Verdict

pytestmark = pytest.mark.slow


def test_a_study_ends_with_a_choice_and_a_bundle_and_a_second_one_is_cheap(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, Toy(refuse="prune")) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1")
        study = farm.wait_final("study-1")

        assert (study.state, study.error) == (StudyState.DONE, "")
        (choice,) = study.choices
        assert choice.verdict.verdict is Verdict.PASS
        assert study.analysis is not None
        assert study.bundle is not None
        unpack(farm.blobs.path(study.bundle.digest), tmp_path / "out")
        assert verify(tmp_path / "out").ok

        trials = farm.trials("study-1")
        assert len({each.trial_id for each in trials}) == len(trials)
        refused = [each for each in trials if each.refusal is not None]
        assert {each.refusal.stage for each in refused if each.refusal} == {"prune(ratio=0.5)"}
        measured = [each for each in trials if each.refusal is None]
        assert all(each.outcome is Outcome.OK and each.score for each in measured)
        finals = [each for each in trials if each.final]
        assert sorted(each.reference for each in finals) == [False, True]
        assert choice.trial_id in {each.trial_id for each in finals}
        (phone,) = choice.phones
        assert phone.verdict == choice.verdict
        # Nine launches within the bound are the fewest that show it; four were made at first.
        assert phone.launches == 9
        assert "The lab had 1 device of this chipset where 2 were asked for" in choice.why

        # A common prefix of two recipes is worked out once.
        assert max(Counter(each for each in farm.lines() if "apply" in each).values()) == 1
        events = farm.events("study-1")
        assert [each.sequence for each in events] == list(range(1, len(events) + 1))
        last = events[-1]
        assert (last.done, last.left_s) == (last.total, 0.0)

        worked = farm.count("apply") + farm.count("export") + farm.count("ingest")
        farm.create("study-2")
        again = farm.wait_final("study-2")
        assert farm.count("apply") + farm.count("export") + farm.count("ingest") == worked
        assert [each.trial_id != choice.trial_id for each in again.choices] == [True]
        reused = [each.text for each in farm.events("study-2") if "reused from" in each.text]
        searched = [each for each in farm.trials("study-2") if not each.final and each.exported]
        assert len(reused) == len(searched)
        final_ids = {each.measurement_ids for each in farm.trials("study-2") if each.final}
        assert final_ids.isdisjoint({each.measurement_ids for each in finals})


def test_recipes_with_common_beginnings_share_them_and_only_they_are_tried(
    tmp_path: Path,
) -> None:
    begun, pruned = "distill(width=0.5)", "prune(ratio=0.2)"
    recipes = [
        f"{begun}+{pruned}*2+int8_static",
        f"{begun}+{pruned}+int8_static",
        f"{begun}+{pruned}+fp16",
        f"{begun}+{pruned}",
        f"{begun}+int8_static",
        "int8_static",
    ]
    with ToyProcesses(tmp_path) as farm:
        farm.start("controller", "worker-1", "worker-2")
        farm.create("study-1", trials=1, recipes=recipes)
        study = farm.wait_final("study-1")
        assert (study.state, study.error) == (StudyState.DONE, "")
        tried = [each.candidate.recipe for each in farm.trials("study-1") if not each.final]
        assert tried == list(study.spec.recipes)
        once = [
            f"original+{begun}",
            f"{begun}+{pruned}",
            f"{begun}+{pruned}+{pruned}",
            f"{begun}+{pruned}+{pruned}+int8_static",
            f"{begun}+{pruned}+int8_static",
            f"{begun}+{pruned}+fp16",
            f"{begun}+int8_static",
            "original+int8_static",
        ]
        applied = [each for each in farm.lines() if each.startswith("apply ")]
        assert sorted(applied) == sorted(f"apply {each}" for each in once)


def test_the_harness_s_fault_is_tried_again_and_a_wrong_answer_is_data(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, Toy(fail_once="int8_static", incorrect="2000")) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1")
        study = farm.wait_final("study-1")
        assert study.state is StudyState.DONE
        trials = farm.trials("study-1")
        assert not [each.refusal for each in trials if each.refusal is not None]
        wrong = [each for each in trials if each.outcome is Outcome.INCORRECT]
        assert wrong
        assert all(each.score is None for each in wrong)
        assert study.choices[0].trial_id not in {each.trial_id for each in wrong}


def test_a_study_over_a_real_device_and_stand_ins_one_of_which_dies_ends_honestly(
    tmp_path: Path,
) -> None:
    with ToyProcesses(tmp_path, Toy(stand_ins=("X1", "X2", "X3"), dies="X2")) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1", trials=6)
        study = farm.wait_final("study-1")
        assert (study.state, study.error) == (StudyState.DONE, "")

        choices = {each.chipset: each for each in study.choices}
        assert list(choices) == ["Acme X1", "Acme X2", "Acme X3", "Google Tensor G2"]
        real = choices.pop("Google Tensor G2")
        assert real.verdict.verdict is Verdict.PASS
        for choice in choices.values():
            assert (choice.trial_id, choice.verdict.verdict) == ("", Verdict.INCONCLUSIVE)
            assert choice.why.startswith("Not judged: only emulated devices")
            assert {each.observed for each in choice.verdict.bounds} == {None}

        rows = {
            chipset: Counter(each.label for each in cells(farm.store, "study-1", chipset))
            for chipset in ("Google Tensor G2", *choices)
        }
        candidates = rows["Acme X1"]["EMULATED"]
        assert rows["Google Tensor G2"] == {"OK": candidates}
        assert rows["Acme X1"] == rows["Acme X3"] == {"EMULATED": candidates}
        assert set(rows["Acme X2"]) == {"EMULATED", "not measured"}
        lost = [each for each in cells(farm.store, "study-1", "Acme X2") if not each.measurement_id]
        assert all("1 offline; waited 600 s" in each.reason for each in lost)
        assert all(each.score is None for each in farm.trials("study-1") if "X" in each.chipset)

        # Everything is built once, and the chipset that is lost is not searched any further.
        assert max(Counter(each for each in farm.lines() if "apply" in each).values()) == 1
        tried = Counter(each.chipset for each in farm.trials("study-1") if not each.final)
        assert tried["Acme X2"] < tried["Acme X1"] == tried["Google Tensor G2"]
        told = [each.text for each in farm.events("study-1")]
        assert "Acme X2: nothing could be measured, its search ends here" in told
        assert "Acme X1 has emulated devices only: none is chosen" in told

        assert study.bundle is not None
        unpack(farm.blobs.path(study.bundle.digest), tmp_path / "out")
        assert verify(tmp_path / "out").ok
        assert [each.name.split("-")[0] for each in (tmp_path / "out" / "chipsets").iterdir()] == [
            "Google"
        ]
        report = (tmp_path / "out" / "report.html").read_text()
        assert report.count("Not judged: only emulated devices") >= len(choices)
        assert report.count("Raw samples of the final measurement") == 1


def test_what_emulated_devices_measured_is_never_taken_over(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, Toy(stand_ins=("X1",))) as farm:
        farm.start("controller", "worker-1")
        for name in ("study-1", "study-2"):
            farm.create(name, trials=1)
            assert farm.wait_final(name).state is StudyState.DONE
        reused = {
            each.measurement_ids[0]: each.chipset
            for each in farm.trials("study-2")
            if each.measurement_ids and not each.final
        }
        before = {id_ for each in farm.trials("study-1") for id_ in each.measurement_ids}
        assert {chipset for id_, chipset in reused.items() if id_ in before} == {"Google Tensor G2"}
        assert {chipset for id_, chipset in reused.items() if id_ not in before} == {"Acme X1"}


def test_an_answer_whose_files_are_gone_is_worked_out_again(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1", trials=1)
        farm.wait_final("study-1")
        trial = next(each for each in farm.trials("study-1") if not each.reference)
        assert trial.exported is not None
        path = farm.blobs.path(trial.exported.artifact.digest)
        path.chmod(0o644)
        path.unlink()
        before = farm.count("apply")
        farm.create("study-2", trials=1)
        study = farm.wait_final("study-2")
        assert study.state is StudyState.DONE
        assert farm.count("apply") == before + 1


def test_cancelling_stops_the_running_step_unless_another_study_wants_it(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path, Toy(pass_s=4.0)) as farm:
        farm.start("controller", "worker-1")
        farm.create("study-1", trials=1)
        farm.create("study-2", trials=1)
        farm.wait_line("begin original+int8_static")
        (farm.folder / "cancel-study-1").touch()
        assert farm.wait_final("study-1").state is StudyState.CANCELLED
        assert farm.wait_final("study-2").state is StudyState.DONE
        assert farm.count("begin original+int8_static") == 1

        farm.create("study-3", trials=1, seed=1)
        farm.wait(lambda: farm.count("begin original+int8_static") == 2, "another seed's pass")
        (farm.folder / "cancel-study-3").touch()
        farm.wait_line("cancelled apply original+int8_static")
        assert farm.wait_final("study-3").state is StudyState.CANCELLED
        assert farm.count("apply original+int8_static") == 1


def test_a_study_without_devices_or_workers_waits_and_says_so(tmp_path: Path) -> None:
    with ToyProcesses(tmp_path) as farm:
        farm.start("controller")
        farm.create("study-1", trials=1)
        farm.wait(
            lambda: any(
                "waiting for a compression" in each.text for each in farm.events("study-1")
            ),
            "a word on the missing worker",
        )
        farm.start("worker-1")
        assert farm.wait_final("study-1").state is StudyState.DONE
