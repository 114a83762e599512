"""Who is served next, and who waits in vain; no clock, no database."""

from dataclasses import replace

import farm_samples as samples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillfarm.controller.scheduling.policy import (
    Assignment,
    GiveUp,
    assign,
    give_up,
    progress_text,
)
from distillfarm.controller.scheduling.state import FarmState
from distillfarm.domain.hardware import Device, DeviceStatus, matches
from distillfarm.domain.job import Job, JobState

IDLE, BUSY, DRAINED, OFFLINE = (
    DeviceStatus.IDLE,
    DeviceStatus.BUSY,
    DeviceStatus.DRAINED,
    DeviceStatus.OFFLINE,
)
ATTEMPTS = 3
PATIENCE_S = 60.0


def device(name: str, status: DeviceStatus = IDLE, *, refusal: str = "") -> Device:
    return Device(name, "agent", samples.device_info(name, refusal=refusal), status, 0.0)


def job(
    name: str,
    at_s: float = 0.0,
    *,
    selector: str = "*",
    priority: int = 0,
    study_id: str = "",
    attempts: int = 0,
    failed_on: tuple[str, ...] = (),
) -> Job:
    request = samples.request(name, selector=selector, priority=priority, study_id=study_id)
    return Job(name, request, JobState.QUEUED, at_s, attempts, failed_on=failed_on)


def farm(*things: Device | Job, now_s: float = 0.0) -> FarmState:
    state = FarmState()
    for thing in things:
        if isinstance(thing, Device):
            state.put_device(thing, now_s)
        else:
            state.put_job(thing, now_s)
    return state


def order(state: FarmState, device_id: str = "a") -> list[str]:
    """The order in which one device would serve the jobs."""
    served = []
    while decisions := assign(state, ATTEMPTS):
        for decision in decisions:
            assert isinstance(decision, Assignment)
            served.append(decision.job_id)
            state.forget_job(decision.job_id)
            state.put_device(device(device_id), 0.0)
    return served


def test_priority_goes_first_then_age() -> None:
    state = farm(device("a"), job("young", 2), job("old", 1), job("urgent", 3, priority=1))
    assert order(state) == ["urgent", "old", "young"]


def test_jobs_of_one_moment_go_in_order_of_arrival() -> None:
    names = ["c", "a", "b"]
    assert order(farm(device("a"), *(job(name) for name in names))) == names


def test_a_small_study_is_not_stuck_behind_a_large_one() -> None:
    large = [job(f"large-{number}", study_id="large") for number in range(10)]
    state = farm(*large, job("small", 9, study_id="small"), job("single", 10))
    for name in ("a", "b", "c"):
        state.put_device(device(name), 0.0)
    served = [each.job_id for each in assign(state, ATTEMPTS)]
    assert served == ["large-0", "small", "single"]


def test_a_study_s_share_is_given_back_when_its_job_ends() -> None:
    state = farm(device("a"), job("one", study_id="x"))
    assign(state, ATTEMPTS)
    assert state.running_by_study["x"] == 1
    state.end_job("one")
    state.end_job("one")
    assert state.running_by_study["x"] == 0


def test_the_device_that_rested_longest_is_taken() -> None:
    state = farm(job("first"), device("b"), device("a"))
    assert assign(state, ATTEMPTS) == [Assignment("first", "b")]


def test_only_idle_devices_that_are_meant_and_able_are_given_work() -> None:
    state = farm(
        device("busy", BUSY),
        device("drained", DRAINED),
        device("offline", OFFLINE),
        device("unable", refusal="too old"),
        device("other"),
        job("any"),
        job("named", selector="busy"),
    )
    assert assign(state, ATTEMPTS) == [Assignment("any", "other")]
    state.put_device(device("busy"), 1.0)
    assert assign(state, ATTEMPTS) == [Assignment("named", "busy")]


def test_a_device_that_changed_is_judged_anew() -> None:
    state = farm(device("a"), job("labelled", selector="label=desk"))
    assert assign(state, ATTEMPTS) == []
    state.put_device(replace(device("a"), labels=("desk",)), 1.0)
    assert assign(state, ATTEMPTS) == [Assignment("labelled", "a")]


def test_a_cancelled_job_is_not_served() -> None:
    state = farm(job("gone"), job("here", 1))
    state.forget_job("gone")
    state.put_device(device("a"), 0.0)
    assert assign(state, ATTEMPTS) == [Assignment("here", "a")]


def test_a_job_that_loses_every_lease_is_given_up_and_the_next_one_served() -> None:
    state = farm(device("a"), job("poison", attempts=ATTEMPTS), job("good", 1))
    poison, good = assign(state, ATTEMPTS)
    assert isinstance(poison, GiveUp)
    assert "lost 3 times" in poison.error
    assert good == Assignment("good", "a")


def test_a_job_that_all_devices_refuse_is_given_up_at_once_with_the_reasons() -> None:
    state = farm(device("a", refusal="no NPU"), device("b", OFFLINE, refusal="too old"), job("x"))
    (decision,) = give_up(state, 0.0, PATIENCE_S)
    assert "a (Pixel 7): no NPU" in decision.error
    assert "b (Pixel 7): too old" in decision.error
    assert give_up(state, 0.0, PATIENCE_S) == []


def test_one_able_device_is_enough_to_wait_for() -> None:
    state = farm(device("a", refusal="no NPU"), device("b", BUSY), job("x"))
    assert give_up(state, 1e9, PATIENCE_S) == []


@pytest.mark.parametrize("status", [None, OFFLINE, DRAINED])
def test_patience_counts_from_when_the_last_device_left(status: DeviceStatus | None) -> None:
    state = farm(device("a"), job("x", 0.0, selector="b"), now_s=1000.0)
    if status is not None:
        state.put_device(device("b", BUSY), 1000.0)
        state.put_device(device("b", status), 2000.0)
        assert give_up(state, 2000.0 + PATIENCE_S - 1, PATIENCE_S) == []
    (decision,) = give_up(state, 2000.0 + PATIENCE_S, PATIENCE_S)
    assert decision.job_id == "x"
    assert "waited 60 s" in decision.error


def test_patience_is_each_job_s_own() -> None:
    state = farm(job("old", 0.0, selector="b"), job("new", 100.0, selector="b"))
    assert [each.job_id for each in give_up(state, 110.0, PATIENCE_S)] == ["old"]


def test_a_device_that_returns_ends_the_wait() -> None:
    state = farm(device("a", OFFLINE), job("x"))
    state.put_device(device("a", BUSY), 10.0)
    assert give_up(state, 1e9, PATIENCE_S) == []


def test_progress_says_what_is_waited_for() -> None:
    x, y = job("x"), job("y", selector="nobody")
    state = farm(device("a", BUSY), device("b", BUSY), device("c", OFFLINE), x, y)
    assert progress_text(state, x).endswith("onnxruntime/cpu/cpu: 2 busy, 1 offline")
    assert progress_text(state, y) == "no device matches 'nobody' yet"


def test_a_job_is_tried_elsewhere_first() -> None:
    state = farm(device("a"), device("b"), job("again", failed_on=("a",)))
    assert assign(state, ATTEMPTS) == [Assignment("again", "b")]


@pytest.mark.parametrize("other", [None, device("b", OFFLINE), device("b", refusal="too old")])
def test_where_no_other_device_is_there_the_same_is_tried_again(other: Device | None) -> None:
    state = farm(device("a"), job("again", failed_on=("a",)), *([other] if other else []))
    assert assign(state, ATTEMPTS) == [Assignment("again", "a")]


def test_a_busy_device_is_waited_for_and_nobody_behind_is_held_up() -> None:
    again = job("again", failed_on=("a",))
    state = farm(device("a"), device("b", BUSY), again, job("other", 1))
    assert assign(state, ATTEMPTS) == [Assignment("other", "a")]
    assert progress_text(state, again).endswith("it failed on a and is tried elsewhere first")
    state.put_device(device("b"), 1.0)
    assert assign(state, ATTEMPTS) == [Assignment("again", "b")]


def test_when_the_last_other_device_leaves_the_same_is_tried_again() -> None:
    state = farm(device("a"), device("b", BUSY), job("again", failed_on=("a",)))
    assert assign(state, ATTEMPTS) == []
    state.put_device(device("b", DRAINED), 1.0)
    assert assign(state, ATTEMPTS) == [Assignment("again", "a")]


def test_a_job_that_failed_everywhere_goes_anywhere() -> None:
    state = farm(device("a", BUSY), device("b"), job("again", failed_on=("a", "b")))
    assert assign(state, ATTEMPTS) == [Assignment("again", "b")]


def test_many_devices_and_jobs_with_needs_of_their_own() -> None:
    state = farm(*(device(f"d{number}") for number in range(1000)))
    for number in range(3000):
        state.put_job(job(f"j{number}", number, selector=f"d{number % 1000}"), 0.0)
    served = assign(state, ATTEMPTS)
    assert len(served) == 1000
    assert Assignment("j7", "d7") in served


NAMES = ["a", "b", "c"]
events = st.lists(
    st.one_of(
        st.builds(
            device,
            st.sampled_from(NAMES),
            st.sampled_from(list(DeviceStatus)),
            refusal=st.sampled_from(["", "", "too old"]),
        ),
        st.builds(
            job,
            st.sampled_from([f"job-{number}" for number in range(8)]),
            st.floats(0, 10),
            selector=st.sampled_from(["*", *NAMES, "platform=android"]),
            failed_on=st.sampled_from([(), (), ("a",), ("a", "b")]),
            priority=st.integers(0, 2),
            study_id=st.sampled_from(["", "x"]),
        ),
        st.just("assign"),
        st.sampled_from([f"end job-{number}" for number in range(8)]),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(events)
def test_no_device_idles_beside_a_job_that_it_could_run(happened: list[Device | Job | str]) -> None:
    state = FarmState()
    known: dict[str, Device] = {}
    waiting: dict[str, Job] = {}
    for event in happened:
        if isinstance(event, Device):
            known[event.device_id] = event
            state.put_device(event, 0.0)
        elif isinstance(event, Job):
            waiting.setdefault(event.job_id, event)
            state.put_job(event, 0.0)
        elif event == "assign":
            for decision in assign(state, ATTEMPTS):
                assert isinstance(decision, Assignment)
                chosen = known[decision.device_id]
                wanted = waiting.pop(decision.job_id)
                assert able(chosen, wanted)
                assert may_have(known, chosen, wanted)
                known[chosen.device_id] = replace(chosen, status=BUSY)
            assert not any(
                able(each, wanted) and may_have(known, each, wanted)
                for each in known.values()
                for wanted in waiting.values()
            )
        else:
            waiting.pop(event.removeprefix("end "), None)
            state.forget_job(event.removeprefix("end "))
        assert set(state.waiting) == set(waiting)


def able(candidate: Device, wanted: Job) -> bool:
    works = candidate.info.runtimes[0].works
    return candidate.status is IDLE and works and matches(candidate, wanted.request.selector)


def may_have(known: dict[str, Device], candidate: Device, wanted: Job) -> bool:
    """Whether it has not failed there, or no other device is there."""
    others = (
        each
        for each in known.values()
        if each.device_id not in wanted.failed_on and each.status in (IDLE, BUSY)
    )
    elsewhere = any(able(replace(each, status=IDLE), wanted) for each in others)
    return candidate.device_id not in wanted.failed_on or not elsewhere
