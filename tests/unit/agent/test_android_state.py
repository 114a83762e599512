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


CORES = """1804800
2419200
schedutil
schedutil
Name:\tcat
Cpus_allowed:\tff
Cpus_allowed_list:\t0-7
voluntary_ctxt_switches:\t1
/foreground
"""


def test_clocks_governor_and_the_cores_of_our_programs_are_told() -> None:
    seen = state.parse(state._MARK.join([*[""] * 7, f"\n{CORES}"]))
    assert seen.clocks_khz == (1804800, 2419200)
    told = seen.context()
    assert (told["cpu_mhz"], told["cpu_governor"]) == ("1805 2419", "schedutil")
    assert told["affinity"] == "0-7 in cpuset /foreground"


def test_cores_of_which_nothing_is_told_are_unreadable() -> None:
    told = state.parse("").context()
    assert {told[each] for each in ("cpu_mhz", "cpu_governor", "affinity")} == {state.UNREADABLE}
    assert state.parse(state._MARK.join([*[""] * 7, "Cpus_allowed_list:\t3\n"])).affinity == "3"
