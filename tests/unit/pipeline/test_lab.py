"""Which chipsets and targets a study has before it."""

from dataclasses import replace

import farm_samples

from distillfarm.controller.lab import survey
from distillfarm.domain.hardware import Chipset, Device, DeviceStatus, matches

ONNX, LITERT = farm_samples.ONNX, farm_samples.LITERT


TENSOR = Chipset("Google", "Tensor G2")


def device(name: str, chipset: Chipset = TENSOR) -> Device:
    info = replace(farm_samples.device_info(name), chipset=chipset)
    return Device(f"device-{name}", "agent", info, DeviceStatus.IDLE, 0.0)


def test_devices_of_one_chipset_are_one_place() -> None:
    other = device("c", chipset=Chipset("Qualcomm", "SM8550"))
    lab = survey([device("a"), device("b"), other], [ONNX], "*")
    assert [each.chipset for each in lab] == ["Google Tensor G2", "Qualcomm SM8550"]
    assert [each.device_id for each in lab[0].phones] == ["device-a", "device-b"]
    assert lab[0].phones[0].version(ONNX) == "1.30"
    assert lab[0].phones[0].os_build == "build-1"
    assert matches(device("b"), lab[0].selector)
    assert not matches(other, lab[0].selector)


def test_the_study_s_own_selector_still_holds() -> None:
    lab = survey([device("a")], [ONNX], "agent=agent")
    assert lab[0].selector == "agent=agent,chipset=Google Tensor G2"


def test_offline_and_drained_devices_do_not_count() -> None:
    gone = replace(device("a"), status=DeviceStatus.OFFLINE)
    drained = replace(device("b"), status=DeviceStatus.DRAINED)
    assert survey([gone, drained], [ONNX], "*") == ()


def test_a_target_that_every_device_refuses_is_named_with_the_reason() -> None:
    refused = farm_samples.device_info("a", refusal="library is missing")
    lab = survey([replace(device("a"), info=refused)], [ONNX, LITERT], "*")
    assert lab[0].targets == (LITERT,)
    assert (lab[0].unsupported[0].target, lab[0].unsupported[0].reason) == (
        ONNX,
        "library is missing",
    )


def test_one_willing_device_is_enough_for_a_target() -> None:
    refused = replace(device("a"), info=farm_samples.device_info("a", refusal="no"))
    (place,) = survey([refused, device("b")], [ONNX], "*")
    assert place.targets == (ONNX,)
    assert [each.version(ONNX) for each in place.phones] == [None, "1.30"]


def test_a_chipset_whose_name_has_a_comma_is_meant_by_its_device() -> None:
    odd = device("a", chipset=Chipset("Acme, Inc.", "X1"))
    assert matches(odd, survey([odd], [ONNX], "*")[0].selector)


def emulated(name: str) -> Device:
    found = device(name)
    return replace(found, info=replace(found.info, emulated=True))


def test_a_chipset_of_emulated_devices_alone_is_marked() -> None:
    (place,) = survey([emulated("a")], [ONNX], "*")
    assert (place.emulated, [each.device_id for each in place.phones]) == (True, ["device-a"])
    assert matches(emulated("a"), place.selector)


def test_emulated_devices_are_left_alone_where_there_is_a_real_one() -> None:
    (place,) = survey([emulated("a"), device("b")], [ONNX], "*")
    assert (place.emulated, [each.device_id for each in place.phones]) == (False, ["device-b"])
    assert matches(device("b"), place.selector)
    assert not matches(emulated("a"), place.selector)
