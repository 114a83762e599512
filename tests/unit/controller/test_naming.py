"""Which device a word means, and what devices may be called."""

from dataclasses import replace

import farm_samples as samples
import pytest

from distillfarm.controller.naming import check_labels, check_name, check_reason, meant
from distillfarm.domain.errors import InvalidRequest, NotFound
from distillfarm.domain.hardware import Device, DeviceStatus


def device(device_id: str, serial: str, name: str = "") -> Device:
    info = samples.device_info(serial)
    return Device(device_id, "one", info, DeviceStatus.IDLE, 0.0, name=name)


def lab(*devices: Device) -> dict[str, Device]:
    return {each.device_id: each for each in devices}


LEFT, RIGHT = device("device-1", "R58", "left"), device("device-2", "R59")


@pytest.mark.parametrize("word", ["device-1", "R58", "left"])
def test_a_device_is_meant_by_id_serial_and_name(word: str) -> None:
    assert meant(lab(LEFT, RIGHT), word) is LEFT


def test_an_id_goes_before_every_other_word() -> None:
    assert meant(lab(LEFT, replace(RIGHT, name="device-1")), "device-1") is LEFT


@pytest.mark.parametrize("word", ["", "LEFT", "device", "R5"])
def test_a_word_that_means_none_is_told(word: str) -> None:
    with pytest.raises(NotFound, match="distillfarm devices list"):
        meant(lab(LEFT, RIGHT), word)


def test_a_word_that_means_several_names_them_all() -> None:
    other = replace(device("device-3", "R58"), agent_id="two")
    with pytest.raises(InvalidRequest, match=r"device-1 .agent one., device-3 .agent two.; write"):
        meant(lab(LEFT, RIGHT, other), "R58")
    with pytest.raises(InvalidRequest, match="may be any"):
        meant(lab(LEFT, replace(RIGHT, name="R58")), "R58")


@pytest.mark.parametrize("word", ["a,b", "label=x", "*", " left", "x" * 101, "a\nb"])
def test_what_a_selector_could_not_say_is_no_name_and_no_label(word: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        check_name(word)
    with pytest.raises(InvalidRequest, match="label"):
        check_labels([word])


def test_an_empty_name_takes_it_away_but_an_empty_label_is_none() -> None:
    check_name("")
    check_name("Büro links")
    check_labels(["desk-3", "wired"])
    for wrong in ([""], ["a", "a"], [str(number) for number in range(51)]):
        with pytest.raises(InvalidRequest, match="label"):
            check_labels(wrong)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_a_quarantine_needs_a_reason(reason: str) -> None:
    with pytest.raises(InvalidRequest, match="reason"):
        check_reason(reason)
