"""Racing and verifying within one budget."""

import numpy as np
from controller_search_lab import LIMIT_MS, SLA, Phone, arm

from distillfarm.controller.search.pursuit import Pursuit
from distillfarm.controller.search.race import Race
from distillfarm.domain.study import Metric
from distillfarm.statistics.verdicts import judge_launches

DROPS = {f"c{number}": 2.0 - 0.02 * number for number in range(60)}


def pursue(
    latency_ms: dict[str, float], seed: int, budget: int, looks: dict[str, float] | None = None
) -> tuple[str, int]:
    """What is delivered and launched; the one feature is the latency itself, or ``looks``."""
    race = Race("chip", SLA, Metric.ACCURACY_DROP, 1, budget)
    widths = looks or latency_ms
    race.enter([arm(key, drop=DROPS[key], width=widths[key]) for key in latency_ms])
    phone, pursuit = Phone(latency_ms, seed), Pursuit(race, budget)
    fresh: dict[str, tuple[float, ...]] = {}
    while step := pursuit.ask():
        for look in step.looks:
            launched = phone.launch(look.key, look.launches)
            if step.fresh:
                fresh[look.key] = (*fresh.get(look.key, ()), *launched.warm_p90_ms)
                verdict = judge_launches(fresh[look.key], LIMIT_MS).verdict
                pursuit.verified(look.key, launched, verdict)
            else:
                pursuit.raced(look.key, launched)
    return pursuit.delivered, sum(phone.made.values())


def test_what_is_delivered_keeps_the_bound_and_is_near_the_best() -> None:
    latency_ms = {key: 5.0 + 0.2 * number for number, key in enumerate(DROPS)}
    found_ms = []
    for seed in range(8):
        delivered, launches = pursue(latency_ms, seed, 100)
        assert latency_ms[delivered] <= LIMIT_MS
        assert launches <= 100
        found_ms.append(latency_ms[delivered])
    assert np.mean(found_ms) >= 0.87 * LIMIT_MS


def test_nothing_is_delivered_where_nothing_keeps_the_bound() -> None:
    latency_ms = {key: LIMIT_MS * 1.05 + 0.1 * number for number, key in enumerate(DROPS)}
    delivered, launches = pursue(latency_ms, 0, 80)
    assert delivered == ""
    assert launches <= 100


def test_what_is_left_is_spent_on_those_in_which_nobody_believes() -> None:
    looks = {key: 5.0 + 0.2 * number for number, key in enumerate(DROPS)}
    best = "c57"  # its neighbours are far beyond the bound, and it looks like them
    latency_ms = looks | {best: 0.6 * LIMIT_MS}
    delivered = [pursue(latency_ms, seed, 180, looks)[0] for seed in range(8)]
    assert delivered.count(best) >= 6
