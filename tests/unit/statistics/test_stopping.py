"""A measurement stops by width, count or time, and says which."""

import numpy as np

from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Stop
from distillfarm.statistics.intervals import over_launches
from distillfarm.statistics.stopping import StoppingRule

STEADY = [10.0, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98, 10.01, 10.03, 9.97]
WILD = [10.0, 20.0, 9.0, 18.0, 11.0, 22.0, 8.0, 19.0, 10.5, 21.0]


def test_as_many_as_asked_for_are_made_where_no_more_may_be() -> None:
    rule = StoppingRule.of(MeasureSpec(launches=5))
    assert rule.reached([STEADY[:4]], 1e9) is None
    assert rule.reached([WILD[:5]], 0.0) is Stop.COUNT


def test_it_stops_when_every_figure_is_narrow_enough() -> None:
    rule = StoppingRule.of(MeasureSpec(launches=5, max_launches=60, width=0.05))
    assert rule.reached([STEADY, STEADY], 0.0) is Stop.WIDTH
    assert rule.reached([STEADY, WILD], 0.0) is None


def test_an_interval_that_has_just_become_narrow_is_not_believed_yet() -> None:
    rule = StoppingRule(5, 60, width=0.05)
    assert rule.reached([STEADY[:6]], 0.0) is None
    assert rule.reached([STEADY[:8]], 0.0) is Stop.WIDTH


def test_the_most_launches_and_the_time_end_it_unfinished() -> None:
    rule = StoppingRule(5, 10, width=0.05, budget_s=100.0)
    assert rule.reached([WILD], 0.0) is Stop.LAUNCHES
    assert rule.reached([WILD[:7]], 100.0) is Stop.TIME
    assert rule.reached([WILD[:7]], 99.0) is None
    assert rule.reached([WILD[:4]], 200.0) is None


def test_without_a_width_it_goes_on_to_the_count() -> None:
    rule = StoppingRule(5, 10)
    assert rule.reached([STEADY[:9]], 0.0) is None
    assert rule.reached([STEADY], 0.0) is Stop.COUNT


def test_intervals_at_which_it_stops_still_hold_the_median() -> None:
    generator = np.random.default_rng(4)
    rule, held = StoppingRule(5, 100, width=0.06), 0
    for _ in range(300):
        launches = list(np.exp(0.03 * generator.standard_normal(100)))
        made = 5
        while rule.reached([launches[:made]], 0.0) is None:
            made += 1
        interval = over_launches(launches[:made])
        held += interval.low <= 1.0 <= interval.high
    assert held / 300 >= 0.915
