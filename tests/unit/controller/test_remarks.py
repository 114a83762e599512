"""What is said beside a measurement's numbers."""

from dataclasses import replace

import farm_samples as samples
import pytest

from distillfarm.controller.remarks import course, drifted, endured, remarks, stopped, throttled
from distillfarm.domain.job import Lease, MeasureSpec
from distillfarm.domain.measurement import Series, SeriesPoint, Stop, Sustained
from distillfarm.statistics.summary import summarise

TAKEN = samples.measurement(Lease("job-1", "device-1", "agent-1", 1, 0.0))
SPEC = MeasureSpec(launches=6, max_launches=40, width=0.05, budget_s=90.0)


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (Stop.COUNT, "as many launches as asked for"),
        (Stop.WIDTH, "the intervals of p50 and p90 are no wider than 5.0%"),
        (Stop.LAUNCHES, "40 launches, the most; an interval is wider than 5.0%"),
        (Stop.TIME, "90 s of the device are spent"),
    ],
)
def test_why_it_stopped_is_said_with_what_was_asked(stop: Stop, text: str) -> None:
    assert stopped(replace(TAKEN, spec=SPEC, stop=stop)) == text


def test_beside_a_rival_the_ratio_was_watched() -> None:
    raced = samples.raced(Lease("job-1", "device-1", "agent-1", 1, 0.0), [1], [2])
    assert "intervals of the ratios of p50" in stopped(replace(raced, spec=SPEC, stop=Stop.WIDTH))


def test_a_calm_burst_is_told_without_peaks_drift_or_throttling() -> None:
    facts = [fact for fact, _ in remarks(TAKEN, summarise(TAKEN))]
    assert facts == ["stopped", "smallest difference"]


def test_a_measurement_without_numbers_says_why_it_stopped_alone() -> None:
    assert [fact for fact, _ in remarks(TAKEN, None)] == ["stopped"]


def test_drift_without_a_direction_is_counted_only() -> None:
    summary = replace(summarise(TAKEN), drifting=2)
    assert drifted(summary) == "2 of 3 launches drift"
    faster = replace(summary, drift=-0.05)
    assert drifted(faster) == "2 of 3 launches drift; the typical one is 5.0% faster at its end"


def test_what_never_slowed_for_good_is_said_to_have_not() -> None:
    assert endured(Sustained(10.0, 10.2, None)) == (
        "10.0 ms at first, 10.2 ms at last (+2%); never 10 % slower for good"
    )


def test_a_device_that_stayed_cool_or_tells_nothing_did_not_throttle() -> None:
    cool = Series("throttling", "level", "thermal status", (SeriesPoint(0.0, 0.0),))
    assert throttled((cool,)) == ""
    assert throttled((replace(cool, points=()), replace(cool, quantity="temperature"))) == ""


def test_the_course_of_a_launch_spans_all_its_time_whatever_was_kept() -> None:
    rising = tuple(range(1_000_000, 1_100_000, 100))
    launch = replace(samples.launch(), samples_ns=rising, inferences=9000, sampling_s=30.0)
    seen = course(launch, 10)
    assert [at_s for at_s, _ in seen] == pytest.approx([1.5 + 3 * part for part in range(10)])
    assert [value for _, value in seen] == sorted(value for _, value in seen)
    assert len(course(replace(launch, samples_ns=(5, 5, 5)), 10)) == 3
