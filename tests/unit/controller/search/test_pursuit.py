"""Racing and verifying within one budget."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from controller_search_lab import LIMIT_MS, SLA, Phone, arm, values

from distillfarm.controller.search.pursuit import Pursuit, Step
from distillfarm.controller.search.race import Look, Race
from distillfarm.controller.search.verification import Ruling
from distillfarm.domain.study import Metric, Verdict
from distillfarm.statistics.summary import LaunchValues
from distillfarm.statistics.verdicts import judge_launches

DROPS = {f"c{number}": 2.0 - 0.02 * number for number in range(60)}
HIDDEN = "c57"


@dataclass
class Course:
    """A pursuit of candidates of known latency, with all that it asked for."""

    pursuit: Pursuit
    launch: Callable[[str, int], LaunchValues]
    steps: list[Step] = field(default_factory=list)
    fresh: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def run(self, most_steps: int = 1000) -> str:
        """Until nothing is asked for; what is delivered."""
        while len(self.steps) < most_steps and (step := self.pursuit.ask()):
            self.steps.append(step)
            for look in step.looks:
                self._take(look, fresh=step.fresh)
        return self.pursuit.delivered

    def _take(self, look: Look, *, fresh: bool) -> None:
        launched = self.launch(look.key, look.launches)
        if not fresh:
            self.pursuit.raced(look.key, launched)
            return
        self.fresh[look.key] = (*self.fresh.get(look.key, ()), *launched.warm_p90_ms)
        judged = judge_launches(self.fresh[look.key], LIMIT_MS)
        self.pursuit.verified(look, launched, Ruling(judged.verdict, judged.more_launches))

    @property
    def launches(self) -> int:
        return sum(look.launches for step in self.steps for look in step.looks)

    @property
    def verified(self) -> list[str]:
        """Who was verified, in the order in which that began."""
        return list(dict.fromkeys(e.looks[0].key for e in self.steps if e.fresh))


def course(
    latency_ms: dict[str, float],
    budget: int,
    seed: int = 0,
    looks: dict[str, float] | None = None,
    drops: dict[str, float] | None = None,
) -> Course:
    """The one feature of a candidate is its latency itself, or what it ``looks`` like."""
    race = Race("chip", SLA, Metric.ACCURACY_DROP, 1, budget)
    widths, drop = looks or latency_ms, drops or DROPS
    race.enter([arm(key, drop=drop[key], width=widths[key]) for key in latency_ms])
    return Course(Pursuit(race, budget), Phone(latency_ms, seed).launch)


def test_what_is_delivered_keeps_the_bound_and_is_near_the_best() -> None:
    latency_ms = {key: 5.0 + 0.2 * number for number, key in enumerate(DROPS)}
    found_ms, launches = [], []
    for seed in range(8):
        made = course(latency_ms, 100, seed)
        delivered = made.run()
        assert latency_ms[delivered] <= LIMIT_MS
        found_ms.append(latency_ms[delivered])
        launches.append(made.launches)
    assert np.mean(found_ms) >= 0.87 * LIMIT_MS
    assert max(launches) <= 100


@pytest.fixture(name="hidden", scope="module")
def _hidden() -> list[Course]:
    """Pursuits of one whose neighbours are far beyond the bound, and that looks like them."""
    looks = {key: 5.0 + 0.2 * number for number, key in enumerate(DROPS)}
    made = [course(looks | {HIDDEN: 0.6 * LIMIT_MS}, 180, seed, looks) for seed in range(12)]
    for each in made:
        each.run()
    return made


def test_it_goes_on_after_a_pass_and_delivers_the_better_one(hidden: list[Course]) -> None:
    followed = [e for e in hidden if e.verified[0] != HIDDEN == e.pursuit.delivered]
    assert followed
    for each in followed:
        first, steps = each.verified[0], each.steps
        fresh = [(n, e.looks[0].key) for n, e in enumerate(steps) if e.fresh]
        judged = max(n for n, key in fresh if key == first)
        begun = min(n for n, key in fresh if key == HIDDEN)
        assert any(not e.fresh for e in steps[judged:begun])


def test_what_is_left_is_spent_on_those_in_which_nobody_believes(hidden: list[Course]) -> None:
    assert sum(each.pursuit.delivered == HIDDEN for each in hidden) >= 0.75 * len(hidden)


def test_where_all_are_raced_a_pass_of_the_leader_ends_it() -> None:
    latency_ms = {"a": 5.0, "b": 6.0, "c": 7.0, "d": 14.0}
    drops = {"a": 1.0, "b": 0.5, "c": 0.2, "d": 0.1}
    made = course(latency_ms, 0, drops=drops)
    assert made.run() == "c"
    assert made.verified == ["c"]
    assert made.steps[-1].fresh


def test_one_that_is_not_clearly_faster_is_not_verified_after_a_pass() -> None:
    for seed in range(5):
        race = Race("chip", SLA, Metric.WARM_P90, 3, 0)
        latency_ms = {"a": 5.0, "b": 5.0, "c": 5.1, "far": 9.0}
        race.enter([arm(key) for key in latency_ms])
        made = Course(Pursuit(race, 0), Phone(latency_ms, seed).launch)
        assert made.run() in ("a", "b", "c")
        assert len(made.verified) == 1


def test_a_spent_budget_ends_it_but_not_before_somebody_is_judged() -> None:
    latency_ms = dict.fromkeys(list(DROPS)[:20], 5.0)
    rich, poor = course(latency_ms, 60), course(latency_ms, 6)
    assert rich.run()
    assert rich.launches <= 60
    assert poor.run()
    raced = sum(look.launches for step in poor.steps if not step.fresh for look in step.looks)
    assert raced <= 6
    assert len(poor.verified) == 1


def test_the_next_best_follows_a_leader_that_fails_and_three_in_vain_end_it() -> None:
    latency_ms = dict.fromkeys(("a", "b", "c", "d", "e"), 9.0)
    drops = {"a": 0.2, "b": 0.4, "c": 0.6, "d": 0.8, "e": 1.0}

    def pursued(failing: int) -> Course:
        """The race is told what is well within the bound, and fresh launches are beyond it."""
        made = course(latency_ms, 0, drops=drops)
        while step := made.pursuit.ask():
            made.steps.append(step)
            for look in step.looks:
                if not step.fresh:
                    made.pursuit.raced(look.key, values(*[5.0] * look.launches))
                    continue
                failed = made.verified.index(look.key) < failing
                verdict = Verdict.FAIL if failed else Verdict.PASS
                seen = values(*[12.0 if failed else 5.0] * look.launches)
                made.pursuit.verified(look, seen, Ruling(verdict))
        return made

    once = pursued(failing=1)
    assert once.verified[:2] == ["a", "b"]
    assert once.pursuit.delivered == "b"
    vain = pursued(failing=5)
    assert vain.verified == ["a", "b", "c"]
    assert vain.pursuit.delivered == ""


def test_what_is_owed_is_launched_whatever_the_race_believes() -> None:
    made = course({"a": 5.0, "b": 5.0}, 0, drops={"a": 0.2, "b": 0.4})
    while (step := made.pursuit.ask()) and not step.fresh:
        for look in step.looks:
            made.pursuit.raced(look.key, values(5.0))
    assert step is not None
    (look,) = step.looks
    owed = Ruling(Verdict.INCONCLUSIVE, 7, owed=True)
    made.pursuit.verified(look, values(*[30.0] * look.launches), owed)
    assert made.pursuit.ask() == Step((Look(look.key, 7),), fresh=True)


def test_asking_again_asks_for_the_same() -> None:
    latency_ms = {key: 5.0 + 0.2 * number for number, key in enumerate(DROPS)}
    for stop in (1, 3, 12, 20):
        once, often = course(latency_ms, 100), course(latency_ms, 100)
        once.run(stop)
        while len(often.steps) < len(once.steps):
            often.pursuit.ask()
            often.run(len(often.steps) + 1)
        assert once.steps == often.steps
        assert once.pursuit.ask() == often.pursuit.ask()


def test_nothing_is_delivered_where_nothing_keeps_the_bound() -> None:
    latency_ms = {key: LIMIT_MS * 1.05 + 0.1 * number for number, key in enumerate(DROPS)}
    made = course(latency_ms, 80)
    assert made.run() == ""
    assert made.launches <= 100
