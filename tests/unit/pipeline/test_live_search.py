"""Whole studies in one process: how phones are shared, spared, lost, and what is reused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from study_in_process import Lab
from toy_farm import Toy

from distillfarm.domain.sla import parse_sla
from distillfarm.domain.study import Budget, Metric, Study, StudyState, Verdict

MakeLab = Callable[[Toy], Lab]


@pytest.fixture(name="lab")
def _lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeLab:
    return lambda toy: Lab(tmp_path, monkeypatch, toy)


def few(trials: int, launches: int = 0, device_s: float = 0.0) -> Budget:
    return Budget(trials, 600.0, launches, device_s)


def reused(lab: Lab, study: Study) -> int:
    (choice,) = study.choices
    assert choice.spent is not None
    told = [each for each in lab.events(study.study_id) if "reused from" in each.text]
    assert bool(told) == bool(choice.spent.reused)
    return choice.spent.reused


def test_the_winner_is_judged_by_fresh_launches_alone(lab: MakeLab) -> None:
    farm = lab(Toy())
    study = farm.run("study-1", budget=few(3))
    (choice,) = study.choices
    trials = {each.trial_id: each for each in farm.trials("study-1")}
    chosen = trials[choice.trial_id]
    searched = [each for each in trials.values() if not each.final]
    assert chosen.final
    assert not {id_ for each in searched for id_ in each.measurement_ids}.intersection(
        chosen.measurement_ids
    )
    (phone,) = choice.phones
    # Four at first; nine within the bound are the fewest that show it.
    assert phone.launches == 9
    assert choice.verdict.verdict is Verdict.PASS


def test_an_unstable_final_measurement_is_taken_again_and_both_count(lab: MakeLab) -> None:
    farm = lab(Toy(shaky=True))
    (choice,) = farm.run("study-1", budget=few(1)).choices
    finals = {each.reference: each for each in farm.trials("study-1") if each.final}
    assert len(finals[True].measurement_ids) == 2
    assert len(finals[False].measurement_ids) == 3
    assert choice.verdict.verdict is Verdict.PASS
    assert choice.phones[0].launches == 9


def test_phones_of_a_chipset_share_the_search_and_several_judge_the_winner(lab: MakeLab) -> None:
    farm = lab(Toy(phones=3))
    (choice,) = farm.run("study-1", budget=few(3)).choices
    on = {each.measurement_id: each.device_id for each in farm.measurements("study-1")}
    trials = farm.trials("study-1")
    used = {on[id_] for each in trials if not each.final for id_ in each.measurement_ids}
    assert len(used) == 3
    assert choice.verdict.verdict is Verdict.PASS
    assert [each.launches for each in choice.phones] == [9, 9]
    (chosen,) = (each for each in trials if each.trial_id == choice.trial_id)
    judges = {on[each] for each in chosen.measurement_ids}
    assert judges == {each.device_id for each in choice.phones}
    assert "Judged by fresh launches on 2 devices" in choice.why


@pytest.mark.parametrize(("phones", "judges"), [(2, 1), (3, 2)])
def test_a_phone_that_is_lost_leaves_the_study_to_the_others(
    lab: MakeLab, phones: int, judges: int
) -> None:
    farm = lab(Toy(phones=phones, lost="phone-1", lost_after=2))
    study = farm.run("study-1", budget=few(4))
    assert (study.state, study.error) == (StudyState.DONE, "")
    (choice,) = study.choices
    assert choice.verdict.verdict is Verdict.PASS
    assert len(choice.phones) == judges
    assert "was lost during the verification" in choice.why
    lonely = "The lab had 1 device of this chipset where 2 were asked for" in choice.why
    assert lonely == (judges == 1)


def test_what_was_measured_stands_where_all_phones_are_lost(lab: MakeLab) -> None:
    farm = lab(Toy(lost="phone-1", lost_after=2))
    study = farm.run("study-1", budget=few(6))
    (choice,) = study.choices
    assert study.state is StudyState.DONE
    assert choice.verdict.verdict is Verdict.INCONCLUSIVE
    assert "led the search, but could not be measured anew" in choice.why
    measured = {each.trial_id for each in farm.trials("study-1") if each.score}
    assert choice.trial_id in measured
    told = [each.text for each in farm.events("study-1")]
    assert "Google Tensor G2: nothing could be measured, its search ends here" in told


@pytest.mark.parametrize(
    ("budget", "raced", "why"),
    [
        # Half of the launches are for racing: one look of three.
        (few(6, launches=6), 3, "its 6 launches are spent"),
        (few(6, device_s=2.0), 6, "its 2 s of devices are spent"),
    ],
)
def test_a_spent_budget_ends_the_race_and_the_winner_is_judged_all_the_same(
    lab: MakeLab, budget: Budget, raced: int, why: str
) -> None:
    farm = lab(Toy())
    (choice,) = farm.run("study-1", budget=budget).choices
    assert choice.verdict.verdict is Verdict.PASS
    assert choice.spent is not None
    assert choice.spent.launches == raced
    assert choice.spent.final_launches == 9 + 4
    told = [each.text for each in farm.events("study-1")]
    assert f"Google Tensor G2: {why}, its search ends here" in told


def test_what_the_host_knows_to_be_hopeless_is_never_launched(lab: MakeLab) -> None:
    farm = lab(Toy())
    study = farm.run(
        "study-1", budget=few(6), sla=parse_sla("accuracy_drop<=0.4pt, warm_p90<=10ms")
    )
    trials = farm.trials("study-1")
    hopeless = [each for each in trials if len(each.candidate.recipe.passes) > 1]
    assert hopeless
    assert all(each.skipped and not each.measurement_ids for each in hopeless)
    assert all("accuracy_drop" in each.skipped for each in hopeless)
    (choice,) = study.choices
    assert choice.spent is not None
    assert choice.spent.skipped == len(hopeless)


def test_the_objective_decides_who_wins(lab: MakeLab) -> None:
    farm = lab(Toy())
    (by_time,) = farm.run("study-1", budget=few(8)).choices
    (by_drop,) = farm.run("study-2", budget=few(8), objective=Metric.ACCURACY_DROP).choices
    trials = {each.trial_id: each for each in (*farm.trials("study-1"), *farm.trials("study-2"))}
    fast, right = trials[by_time.trial_id], trials[by_drop.trial_id]
    assert len(fast.candidate.recipe.passes) > len(right.candidate.recipe.passes) == 1
    assert by_drop.why.split(". ")[1].startswith("Accuracy drop 0.4")


def test_the_same_is_not_measured_twice_until_the_system_is_updated(lab: MakeLab) -> None:
    farm = lab(Toy())
    first = farm.run("study-1", budget=few(3))
    assert reused(farm, first) == 0
    second = farm.run("study-2", budget=few(3))
    assert reused(farm, second) > 0
    (choice,) = second.choices
    assert choice.spent is not None
    assert choice.spent.launches == 0
    assert choice.spent.final_launches == 9 + 4
    farm.furnish(Toy(), os_build="build-2")
    third = farm.run("study-3", budget=few(3))
    assert reused(farm, third) == 0


def test_a_later_study_is_predicted_from_what_earlier_ones_measured(lab: MakeLab) -> None:
    farm = lab(Toy(phones=1, freshness_s=0.0))
    farm.run("study-1", budget=few(6))
    farm.run("study-2", budget=few(6))
    told = [each.text for each in farm.events("study-2")]
    assert any(each.startswith("the search learns from") for each in told)
    predicted = [each.prediction for each in farm.trials("study-2") if each.prediction]
    assert predicted
    assert all(each.measurements > 0 for each in predicted)


def test_progress_never_passes_its_total_and_never_goes_back(lab: MakeLab) -> None:
    farm = lab(Toy(shaky=True))
    farm.run("study-1", budget=few(4))
    events = farm.events("study-1")
    assert all(each.done <= each.total for each in events)
    done = [each.done for each in events]
    assert done == sorted(done)
    assert (events[-1].done, events[-1].left_s) == (events[-1].total, 0.0)
