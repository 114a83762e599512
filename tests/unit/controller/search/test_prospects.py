"""What it takes to pass, against verdicts on launches that were drawn."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from distillfarm.controller.search.promise import Limited, Quantity
from distillfarm.controller.search.prospects import LaunchBound, Prospects, prospects
from distillfarm.controller.search.verifiable import launches_to_pass, verifiable_margin
from distillfarm.domain.study import Verdict
from distillfarm.statistics.verdicts import judge_counts

SD_LOG = 0.05
LIMIT_LOG = math.log(10.0)


def of(*medians_ms: float, sd_log: float, left: int = 60, made: float = 0.0) -> Prospects:
    """Candidates so known, tested by launches that vary by 5 %, against 10 ms."""
    means = np.log(np.array(medians_ms))
    quantity = Quantity(means, np.full(len(means), sd_log))
    bound = LaunchBound(Limited(quantity, LIMIT_LOG), SD_LOG)
    return prospects([bound], np.full(len(means), made), left, 1)


@pytest.mark.parametrize("share", [0.7, 0.8, 0.95])
def test_so_many_launches_pass_about_half_of_the_time(share: float) -> None:
    needed = int(launches_to_pass(np.array([share]))[0])
    random, passed = np.random.default_rng(3), 0
    for _ in range(400):
        within = np.cumsum(random.random(needed) < share)
        passed += any(
            judge_counts(int(count), made - int(count)) is Verdict.PASS
            for made, count in enumerate(within, start=1)
        )
    assert 0.4 < passed / 400 < 0.85


def test_half_of_the_launches_within_never_pass() -> None:
    assert launches_to_pass(np.array([0.3, 0.5]))[0] >= 1e6


def test_the_margin_is_where_so_many_launches_pass() -> None:
    share = norm.cdf(verifiable_margin(60))
    assert 0.8 * 60 - 2 <= launches_to_pass(np.array([share]))[0] <= 60


def test_far_within_the_bound_few_launches_pass_and_near_it_many() -> None:
    seen = of(7.0, 9.5, 9.9, sd_log=0.001)
    assert seen.chance == pytest.approx([1.0, 1.0, 0.0])
    assert seen.launches[0] < 12
    assert 20 < seen.launches[1] < 60
    # It passes with more, and those that were made already count.
    assert of(9.5, sd_log=0.001, left=20).chance[0] == 0.0
    assert of(9.5, sd_log=0.001, left=20, made=25).chance[0] == pytest.approx(1.0)


def test_what_is_hardly_known_may_pass_and_is_soon_known() -> None:
    near, far = of(11.0, sd_log=0.2), of(20.0, sd_log=0.05)
    assert 0.1 < near.chance[0] < 0.5
    assert far.chance[0] == 0.0
    assert far.launches[0] == pytest.approx(1.0)


def test_a_second_bound_takes_from_the_chance() -> None:
    quantity = Quantity(np.log(np.array([9.0])), np.array([0.1]))
    one = LaunchBound(Limited(quantity, LIMIT_LOG), SD_LOG)
    alone = prospects([one], np.zeros(1), 60, 1)
    both = prospects([one, one], np.zeros(1), 60, 1)
    assert both.chance[0] == pytest.approx(alone.chance[0] ** 2)


def test_what_may_be_otherwise_counts_by_its_chance() -> None:
    usual, otherwise = of(14.0, sd_log=0.05), of(14.0, sd_log=0.3)
    mixed = usual.mixed(otherwise, 0.1)
    assert usual.chance[0] == 0.0
    assert mixed.chance[0] == pytest.approx(0.1 * otherwise.chance[0])
    assert mixed.launches[0] == pytest.approx(0.9 * usual.launches[0] + 0.1 * otherwise.launches[0])
