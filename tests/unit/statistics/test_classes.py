"""Each class of device has its own limits."""

import pytest

from distillfarm.domain.hardware import Platform, parse_target
from distillfarm.statistics.classes import DeviceClass, device_class


@pytest.mark.parametrize(
    ("platform", "target", "kind"),
    [
        (Platform.ANDROID, "litert/qnn/npu", DeviceClass.NPU),
        (Platform.IOS, "coreml/all/npu", DeviceClass.NPU),
        (Platform.ANDROID, "litert/gpu/gpu", DeviceClass.GPU),
        (Platform.IOS, "coreml", DeviceClass.IPHONE_CPU),
        (Platform.ANDROID, "litert", DeviceClass.ANDROID_CPU),
        (Platform.HOST, "onnxruntime", DeviceClass.HOST_CPU),
    ],
)
def test_the_unit_decides_before_the_platform(
    platform: Platform, target: str, kind: DeviceClass
) -> None:
    assert device_class(platform, parse_target(target)) is kind


def test_npus_must_be_steadier_than_cpus() -> None:
    limits = [
        kind.variation_limit
        for kind in (
            DeviceClass.NPU,
            DeviceClass.IPHONE_CPU,
            DeviceClass.ANDROID_CPU,
            DeviceClass.HOST_CPU,
        )
    ]
    assert limits == sorted(set(limits))
