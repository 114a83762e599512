"""The probe decides; the profile answers only where the device was not asked."""

from dataclasses import replace

import pytest

from distillfarm.domain.hardware import (
    Chipset,
    DeviceInfo,
    Platform,
    RuntimeSupport,
    parse_target,
)
from distillfarm.profiles.catalog import SHIPPED, load
from distillfarm.profiles.support import refusal


def phone(model: str, *probed: RuntimeSupport, platform: Platform = Platform.ANDROID) -> DeviceInfo:
    return DeviceInfo("s1", platform, model, Chipset("", ""), "os", "build", 8, 2**33, probed)


XIAOMI = phone("2201122G")
PIXEL = phone("Pixel 8 Pro")
UNKNOWN = phone("unheard of")
COMPUTER = phone("any", platform=Platform.HOST)
IPHONE = replace(phone("iPhone16,1", platform=Platform.IOS), os_name="iOS 26.4")
NEW_IPHONE = replace(IPHONE, os_name="iOS 27.0")


@pytest.mark.parametrize(
    ("info", "target", "expected"),
    [
        (XIAOMI, "litert/qnn/npu", None),
        (PIXEL, "litert/qnn/npu", "Google Tensor G3"),
        (PIXEL, "litert/gpu/gpu", None),
        (PIXEL, "onnxruntime", None),
        (UNKNOWN, "litert/gpu/gpu", None),
        (COMPUTER, "litert", None),
        (COMPUTER, "litert/gpu/gpu", "known: none"),
        (COMPUTER, "coreml", "Apple devices only"),
        (COMPUTER, "coreai", "Apple devices only"),
        (IPHONE, "coreml/all/npu", None),
        (IPHONE, "coreai/default/npu", "needs iOS 27 or newer, this is iOS 26.4"),
        (NEW_IPHONE, "coreai", None),
        (NEW_IPHONE, "coreai/default/npu", None),
        (NEW_IPHONE, "coreai/all/npu", "no way known"),
    ],
)
def test_the_profile_answers_for_a_target_that_was_not_probed(
    info: DeviceInfo, target: str, expected: str | None
) -> None:
    reason = refusal(info, parse_target(target), load(SHIPPED))
    if expected is None:
        assert reason is None
    else:
        assert reason is not None
        assert expected in reason


def test_the_probe_overrides_the_profile_both_ways() -> None:
    qnn = parse_target("litert/qnn/npu")
    works = phone("Pixel 8 Pro", RuntimeSupport(qnn, "2.3"))
    broken = phone("2201122G", RuntimeSupport(qnn, "2.3", "libQnnHtp.so is missing"))
    assert refusal(works, qnn) is None
    assert refusal(broken, qnn) == "libQnnHtp.so is missing"
