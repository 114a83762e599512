"""One look at a phone, as its sections come over the shell."""

import pytest

from distillfarm.agent.drivers.android import state

LOAD = """12.50 20.00
cpu  100 0 50 1000 5 0 0 0 0 0
13.00 20.90
cpu  140 0 60 1400 5 0 0 0 0 0
"""


def test_busy_cores_are_counted_over_the_time_that_really_passed() -> None:
    # Fifty ticks of 10 ms in half a second are one core.
    assert state.busy_cores(LOAD) == pytest.approx(1.0)


@pytest.mark.parametrize("output", ["", LOAD[: len(LOAD) // 2], LOAD.replace("13.00", "12.50")])
def test_load_that_is_half_told_is_not_guessed(output: str) -> None:
    assert state.busy_cores(output) is None
