"""From measurement and judgement to what people compare and the sampler learns."""

from dataclasses import replace

import farm_samples
import pytest
from made_trials import exported_of, make_trial

from distillfarm.controller.scoring import observation, score, search_score
from distillfarm.domain.job import Lease
from distillfarm.domain.measurement import Energy
from distillfarm.domain.sla import parse_sla
from distillfarm.statistics.summary import summarise


def test_a_score_has_the_test_split_and_the_device_s_times() -> None:
    trial = make_trial(drop=1.5, search_drop=0.2, size=777)
    measured = farm_samples.measurement(Lease("job", "device", "agent", 1, 0.0))
    made = score(exported_of(trial), summarise(measured), Energy(reason="no meter"))
    assert made.quality_drop == exported_of(trial).test_drop
    assert made.size_bytes == 777
    assert made.warm_p90_ms.value == pytest.approx(1.0)
    assert made.cold_ms.value == pytest.approx(30.0)


def test_the_sampler_never_sees_the_test_split() -> None:
    trial = make_trial(drop=1.5, search_drop=0.2)
    seen_score = search_score(trial)
    assert seen_score is not None
    assert seen_score.quality_drop == exported_of(trial).quality_drop
    seen = observation(trial, parse_sla("accuracy_drop<=1pt"))
    assert seen.objectives is not None
    assert seen.objectives[0] == 0.2
    assert list(seen.violations or ()) == pytest.approx([-0.8])


def test_violations_are_relative_to_their_limits() -> None:
    seen = observation(make_trial(p90_ms=3.0, size=500_000), parse_sla("warm_p90<=2ms, size<=1MB"))
    assert list(seen.violations or ()) == pytest.approx([0.5, -0.5])


def test_what_was_not_measured_violates_nothing() -> None:
    assert observation(make_trial(), parse_sla("energy<=1mJ")).violations == (0.0,)


def test_a_refused_or_failed_trial_teaches_only_that_it_failed() -> None:
    trial = replace(make_trial(), score=None)
    seen = observation(trial, parse_sla("size<=1MB"))
    assert (seen.candidate, seen.objectives, seen.violations) == (trial.candidate, None, None)
