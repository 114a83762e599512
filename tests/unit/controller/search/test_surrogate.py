"""What launches tell of candidates that were not launched."""

import math

import numpy as np

from distillfarm.controller.search.features import Features
from distillfarm.controller.search.noise import launch_sd, reachable, resolution
from distillfarm.controller.search.surrogate import Known, Surrogate

KINDS = ("conv", "pool", "skip")
COST_MS = {"conv": 6.0, "pool": 2.0, "skip": 0.1}
POOL = [
    Features((("first", one), ("second", two), ("third", three)))
    for one in KINDS
    for two in KINDS
    for three in KINDS
]


def true_ms(features: Features, factor: float = 1.0) -> float:
    return factor * (1.0 + sum(COST_MS[value] for _, value in features.choices))


def test_what_adds_up_is_learnt_from_few_and_said_with_its_uncertainty() -> None:
    random = np.random.default_rng(0)
    rows = [int(each) for each in random.choice(len(POOL), 14, replace=False)]
    told = [(true_ms(POOL[row]) * math.exp(random.normal(0, 0.03)),) for row in rows]
    beliefs = Surrogate(POOL).believe(rows, told)
    unseen = [row for row in range(len(POOL)) if row not in rows]
    off = [abs(beliefs[row].mean_log - math.log(true_ms(POOL[row]))) for row in unseen]
    assert np.median(off) < 0.1
    intervals = [beliefs[row].interval() for row in unseen]
    held = [
        each.low <= true_ms(POOL[row]) <= each.high
        for row, each in zip(unseen, intervals, strict=True)
    ]
    assert np.mean(held) >= 0.8


def test_a_single_slow_launch_is_doubted_until_it_is_repeated() -> None:
    rows = list(range(len(POOL)))
    told: list[tuple[float, ...]] = [(true_ms(POOL[row]),) for row in rows]
    told[5] = (1.5 * true_ms(POOL[5]),)
    doubted = Surrogate(POOL).believe(rows, told)[5]
    told[5] = (1.5 * true_ms(POOL[5]),) * 5
    believed = Surrogate(POOL).believe(rows, told)[5]
    truth = math.log(true_ms(POOL[5]))
    assert doubted.mean_log - truth < 0.5 * math.log(1.5)
    assert believed.mean_log - truth > 0.8 * math.log(1.5)


def test_one_that_is_unlike_its_neighbours_is_believed_what_it_showed_and_moves_nobody() -> None:
    rows = list(range(0, len(POOL), 2))
    told = [(true_ms(POOL[row]),) * 2 for row in rows]
    odd = rows.index(8)
    usual = Surrogate(POOL).believe(rows, told)
    told[odd] = (0.6 * true_ms(POOL[8]),) * 2
    beliefs = Surrogate(POOL).believe(rows, told)
    showed_log = math.log(0.6 * true_ms(POOL[8]))
    assert abs(beliefs[8].mean_log - showed_log) < 0.1 * math.log(1 / 0.6)
    moved = [abs(beliefs[row].mean_log - usual[row].mean_log) for row in range(len(POOL))]
    assert np.median(moved) < 0.05


def test_another_chipset_is_a_witness_for_one_of_which_little_is_known() -> None:
    elsewhere = [Known("other", each, (true_ms(each, 3.0),) * 3) for each in POOL]
    rows = [0, 13, 26]
    told = [(true_ms(POOL[row]),) for row in rows]

    def off(surrogate: Surrogate) -> float:
        beliefs = surrogate.believe(rows, told)
        return float(np.median([
            abs(each.mean_log - math.log(true_ms(one)))
            for each, one in zip(beliefs, POOL, strict=True)
        ]))  # fmt: skip

    assert off(Surrogate(POOL, elsewhere)) < 0.5 * off(Surrogate(POOL))


def test_the_noise_of_launches_is_learnt_and_slow_ones_hardly_move_it() -> None:
    random = np.random.default_rng(1)

    def arms(sd: float) -> list[tuple[float, ...]]:
        noise = np.exp(random.normal(0, sd, (60, 4))) * np.where(
            random.random((60, 4)) < 0.1, 1.5, 1
        )
        return [tuple(map(float, 10 * each)) for each in noise]

    assert 0.008 < launch_sd(arms(0.01)) < 0.015
    assert 0.08 < launch_sd(arms(0.1)) < 0.15


def test_values_told_in_whole_milliseconds_are_known_for_it() -> None:
    assert resolution([(13.0, 14.0), (17.0,), (15.0, 13.0)]) == 1.0
    assert resolution([(13.01, 14.2), (17.3,), (15.77, 13.0)]) < 0.1
    assert reachable(13.4, 1.0) == 13.5
    assert reachable(13.4, 0.0) == 13.4
