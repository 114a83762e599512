"""What this computer tells of itself beside a measurement."""

import os

import pytest

from distillfarm.agent.drivers.host import facts


@pytest.mark.parametrize(
    ("cores", "listed"),
    [(set(), ""), ({5}, "5"), ({0, 1, 2, 3}, "0-3"), ({7, 0, 1, 4, 5}, "0-1,4-5,7")],
)
def test_cores_are_listed_as_the_kernel_does(cores: set[int], listed: str) -> None:
    assert facts.ranges(cores) == listed


def test_the_context_tells_clock_heat_cores_and_charge_or_that_they_cannot_be_read() -> None:
    told = facts.context()
    expected = {"cpu_mhz", "cpu_governor", "temperature_c", "throttled_times", "affinity", "power"}
    assert told.keys() >= expected
    assert all(told[each] for each in expected)
    assert told["affinity"] == facts.ranges(os.sched_getaffinity(0))
