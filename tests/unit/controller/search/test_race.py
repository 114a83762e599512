"""Who is launched how often, and who leads."""

from controller_search_lab import LIMIT_MS, SLA, Phone, arm, finish, values

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.learning import Measured
from distillfarm.controller.search.race import Race
from distillfarm.domain.study import Metric

# The wider, the slower and the more accurate; a third of them within the limit.
WIDTHS = [0.1 * step for step in range(1, 31)]


def pool() -> list[Arm]:
    return [arm(f"w{width:.1f}", drop=2.0 - 0.5 * width, width=width) for width in WIDTHS]


def phone(seed: int = 0) -> Phone:
    return Phone({f"w{width:.1f}": LIMIT_MS * width for width in WIDTHS}, seed)


def race(objective: Metric = Metric.ACCURACY_DROP, most: int = 0, first: int = 1) -> Race:
    return Race("chip", SLA, objective, first, most)


def test_a_candidate_that_breaks_a_bound_on_the_host_costs_no_launch_and_says_why() -> None:
    contest = race(Metric.WARM_P90)
    contest.enter([arm("good"), arm("bad", drop=5.0)])
    device = Phone({"good": 8.0, "bad": 1.0}, 0)
    finish(contest, device)
    assert device.made["bad"] == 0
    assert contest.skipped() == {"bad": "accuracy_drop of 5 is beyond 2 on the host"}
    assert contest.standing() == ["good"]


def test_what_is_expected_to_break_a_bound_is_not_launched_and_says_by_how_much() -> None:
    contest, device = race(), phone()
    contest.enter(pool())
    finish(contest, device)
    said = contest.skipped()
    assert said
    assert all(device.made[key] == 0 for key in said)
    assert any("warm_p90 is expected to be" in each for each in said.values())


def test_the_most_accurate_that_clearly_keeps_the_bound_leads_in_spite_of_slow_launches() -> None:
    leaders = []
    for seed in range(10):
        contest = race()
        contest.enter(pool())
        finish(contest, phone(seed))
        leaders.append(contest.standing()[0])
    assert sum(each in ("w0.9", "w1.0") for each in leaders) >= 8
    assert all(float(each[1:]) <= 1.0 for each in leaders)


def test_close_ones_get_more_launches_than_those_far_behind() -> None:
    made = dict.fromkeys(("a", "b", "far", "farther"), 0)
    for seed in range(6):
        contest = race(Metric.WARM_P90, first=3)
        device = Phone({"a": 5.0, "b": 5.1, "far": 9.0, "farther": 9.5}, seed)
        contest.enter([arm(key) for key in device.latency_ms])
        finish(contest, device)
        assert contest.standing()[0] in ("a", "b")
        made = {key: made[key] + launches for key, launches in device.made.items()}
    assert min(made["a"], made["b"]) > 1.5 * max(made["far"], made["farther"])


def test_a_race_without_a_limit_ends() -> None:
    contest, device = race(Metric.WARM_P90), Phone({"a": 5.0, "b": 5.0, "c": 5.0}, 2, 0.2)
    contest.enter([arm(key) for key in device.latency_ms])
    finish(contest, device)
    assert contest.launches <= 3 * 12


def test_no_more_is_launched_than_allowed() -> None:
    contest, device = race(most=14), phone()
    contest.enter(pool())
    finish(contest, device)
    assert contest.launches == sum(device.made.values()) <= 14


def test_a_candidate_that_cannot_be_measured_is_not_asked_again_and_the_race_goes_on() -> None:
    contest, device = race(Metric.WARM_P90), Phone({"a": 4.0, "b": 5.0, "c": 6.0}, 3)
    contest.enter([arm(key) for key in device.latency_ms])
    while looks := contest.ask():
        for look in looks:
            lost = look.key == "a"
            contest.tell(look.key, None if lost else device.launch(look.key, look.launches))
        assert all(look.key != "a" for look in contest.ask())
    assert contest.standing() == ["b", "c"]


def test_the_same_words_give_the_same_looks() -> None:
    def transcript() -> list[tuple[str, int]]:
        contest, device, said = race(most=40), phone(5), []
        contest.enter(pool())
        while looks := contest.ask():
            for look in looks:
                said.append((look.key, look.launches))
                contest.tell(look.key, device.launch(look.key, look.launches))
        return said

    assert transcript() == transcript()


def test_another_chipset_teaches_where_to_look() -> None:
    def launches(elsewhere: list[Measured]) -> int:
        made = 0
        for seed in range(6):
            contest = race()
            contest.learn(elsewhere)
            contest.enter(pool())
            finish(contest, phone(seed))
            made += contest.launches
        return made

    other = phone(8)
    told = [Measured("other", each, other.launch(each.key, 3)) for each in pool()]
    assert launches(told) < launches([])


def test_a_prediction_is_kept_from_before_the_first_launch() -> None:
    contest, device = race(), phone(9)
    contest.enter(pool())
    finish(contest, device)
    told = {key: contest.prediction(key) for key, made in device.made.items() if made}
    predicted = {key: each for key, each in told.items() if each is not None}
    assert predicted
    for key, each in predicted.items():
        assert each.measurements < len(WIDTHS)
        assert 0.3 < each.warm_p90_ms.value / device.latency_ms[key] < 3


def test_once_one_has_passed_only_better_ones_stand() -> None:
    contest, device = race(most=40), phone(4)
    contest.enter(pool())
    finish(contest, device)
    order = list(contest.standing())
    contest.passed(order[0])
    assert all(float(each[1:]) > float(order[0][1:]) for each in contest.standing())


def test_what_was_shown_to_break_a_bound_is_out() -> None:
    contest = race(Metric.WARM_P90)
    contest.enter([arm("a"), arm("b")])
    contest.tell("a", values(5.0))
    contest.tell("b", values(6.0))
    contest.failed("a")
    assert contest.standing() == ["b"]
