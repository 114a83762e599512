"""Who is launched how often, and who leads."""

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.features import Features
from distillfarm.controller.search.race import Race
from distillfarm.domain.interval import Interval
from distillfarm.domain.study import Bound, Metric, Sla
from distillfarm.statistics.summary import LaunchValues

SLA = Sla((Bound(Metric.ACCURACY_DROP, 2.0), Bound(Metric.WARM_P90, 10.0)))


def arm(key: str, drop: float = 1.0) -> Arm:
    known = {Metric.ACCURACY_DROP: Interval(drop, drop - 0.1, drop + 0.1)}
    return Arm(key, Features((("recipe", key),)), known)


def values(*warm_ms: float) -> LaunchValues:
    rest = (1.0,) * len(warm_ms)
    return LaunchValues(rest, rest, rest, warm_ms, warm_ms, warm_ms, rest)


def test_the_fastest_within_the_bounds_leads_and_hopeless_ones_cost_no_launch() -> None:
    race = Race("chip", SLA, Metric.WARM_P90, 1, 0)
    race.enter([arm("a"), arm("b"), arm("c", drop=5.0)])
    assert "accuracy_drop" in race.skipped()["c"]
    latency = {"a": 8.0, "b": 6.0}
    while looks := race.ask():
        for look in looks:
            race.tell(look.key, values(*[latency[look.key]] * look.launches))
    assert race.standing()[0] == "b"
    assert "c" not in race.standing()


def test_a_candidate_that_cannot_be_measured_is_not_asked_again_and_does_not_stand() -> None:
    race = Race("chip", SLA, Metric.WARM_P90, 2, 0)
    race.enter([arm("a"), arm("b")])
    for look in race.ask():
        race.tell(look.key, None if look.key == "a" else values(5.0, 5.0))
    assert all(look.key != "a" for look in race.ask())
    assert race.standing() == ["b"]
