"""When a device or a model is to be given no more work; no clock, no database."""

from dataclasses import replace

import farm_samples as samples
import pytest

from distillfarm.controller.scheduling.conduct import (
    Ending,
    Felling,
    Forbearance,
    condemned,
    misconduct,
    others_work,
)
from distillfarm.domain.errors import Blame
from distillfarm.domain.hardware import Device, DeviceStatus

FORBEARANCE = Forbearance(phone=3, harness=5)
GOOD = Ending(None)
PHONE, HARNESS = Ending(Blame.PHONE, "swollen"), Ending(Blame.HARNESS, "adb: offline")


def judged(*endings: Ending, others: bool = True) -> str:
    return misconduct(endings, others, FORBEARANCE)


@pytest.mark.parametrize(
    ("endings", "reason"),
    [
        ([], ""),
        ([PHONE, PHONE], ""),
        ([PHONE, PHONE, PHONE], "3 failures in a row by its own fault: swollen"),
        ([PHONE, PHONE, GOOD, PHONE], ""),
        ([GOOD, PHONE, PHONE, PHONE], ""),
        ([PHONE, HARNESS, PHONE, HARNESS, PHONE], "3 failures"),
        ([HARNESS] * 4, ""),
        ([HARNESS] * 5, "5 failures in a row while its agent's other devices work: adb: offline"),
        ([HARNESS, PHONE, HARNESS, HARNESS, PHONE, HARNESS, HARNESS], "5 failures"),
    ],
)
def test_failures_in_a_row_quarantine_and_a_success_starts_anew(
    endings: list[Ending], reason: str
) -> None:
    assert judged(*endings).startswith(reason)
    assert bool(judged(*endings)) == bool(reason)


def test_the_last_error_is_quoted() -> None:
    assert judged(replace(PHONE, error="newest"), PHONE, PHONE).endswith("newest")
    assert len(judged(*[replace(PHONE, error="x" * 9999)] * 3)) < 600


def test_where_nothing_on_the_agent_works_the_harness_is_not_the_device_s_fault() -> None:
    assert judged(*[HARNESS] * 9, others=False) == ""
    assert judged(*[PHONE] * 3, others=False) != ""


@pytest.mark.parametrize(
    ("newest", "works"),
    [
        ([], False),
        ([None], True),
        ([GOOD], True),
        ([PHONE], True),
        ([HARNESS], False),
        ([HARNESS, HARNESS, GOOD], True),
    ],
)
def test_another_device_that_works_shows_that_the_connection_does(
    newest: list[Ending | None], works: bool
) -> None:
    assert others_work(newest) == works


def device(name: str, *, emulated: bool = False, here: bool = True) -> Device:
    info = samples.device_info(name, emulated=emulated)
    status = DeviceStatus.IDLE if here else DeviceStatus.OFFLINE
    return Device(name, "one", info, status, 0.0)


def felled(*names: str, emulated: bool = False) -> list[Felling]:
    return [
        Felling("onnxruntime/cpu/cpu", name, name, emulated, float(number))
        for number, name in enumerate(names)
    ]


LAB = [device(name) for name in "abcd"]


@pytest.mark.parametrize(
    ("names", "able", "stopped"),
    [
        ("ab", LAB, False),
        ("abc", LAB, True),
        ("aab", LAB, False),
        ("aaa", LAB, False),
        ("aaa", [device("a")], True),
        ("aab", [device("a"), device("b")], True),
        ("aaa", [device("a"), device("b", here=False)], True),
        ("aaa", [device("a"), device("b")], False),
        ("aaa", [device("b", here=False)], False),
        ("abc", [], True),
    ],
)
def test_three_devices_end_a_model_or_three_times_where_no_other_is_left(
    names: str, able: list[Device], stopped: bool
) -> None:
    held = condemned(felled(*names), able, 3)
    assert bool(held) == stopped
    assert held == (tuple(felled(*names)) if stopped else ())


def test_what_emulated_devices_do_says_nothing_of_real_ones() -> None:
    stand_ins = [device(name, emulated=True) for name in "xyz"]
    assert condemned(felled(*"xyz", emulated=True), [*LAB, *stand_ins], 3) == ()
    assert len(condemned(felled(*"xyz", emulated=True), stand_ins, 3)) == 3
    assert condemned(felled(*"abc"), stand_ins, 3) == ()
