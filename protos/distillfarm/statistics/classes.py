"""How steady each class of device is: what is too much spread, and which difference counts.

Source: launches of one model on phones that ExecuTorch's nightly benchmarks published in June 2025
(pytorch/executorch, ``.ci/scripts/benchmark_tooling/private``). Their robust coefficient of
variation is below 1 % on the NPU of Galaxy S22 phones, 3.6 % on an iPhone 15's CPU and 10.8 % on
the CPUs of Galaxy S22 phones, just beyond the limit of their class. Nothing comparable is published
for phones' GPUs, whose clock is governed as the CPUs' is, and so they get the CPUs' figures. The
host is a computer that others may use as well.

A difference as large as the limit of a class is its minimum effect: less may come from measuring at
another time. ``bench/bench_statistics_comparisons.py`` prints the false alarms and the power. On
devices at half of their class's limit 20 launches a side in turn find the minimum effect in 8 to 10
of 10 cases, in about half where one launch in ten is slow; measured apart, one and a half of it in
more than 9 of 10.
"""

from enum import Enum

from distillfarm.domain.hardware import ComputeUnit, Platform, Target


class DeviceClass(Enum):
    """Devices of which one may expect the same steadiness."""

    NPU = "NPU"
    GPU = "GPU"
    IPHONE_CPU = "iPhone CPU"
    ANDROID_CPU = "Android CPU"
    HOST_CPU = "host CPU"

    @property
    def variation_limit(self) -> float:
        """The robust coefficient of variation over launches beyond which there is no number."""
        return _VARIATION_LIMITS[self]

    @property
    def minimum_effect(self) -> float:
        """The smallest relative difference that separate measurements are trusted to show."""
        return _MINIMUM_EFFECTS[self]


_VARIATION_LIMITS = {
    DeviceClass.NPU: 0.03,
    DeviceClass.GPU: 0.10,
    DeviceClass.IPHONE_CPU: 0.05,
    DeviceClass.ANDROID_CPU: 0.10,
    DeviceClass.HOST_CPU: 0.15,
}
_MINIMUM_EFFECTS = {
    DeviceClass.NPU: 0.03,
    DeviceClass.GPU: 0.10,
    DeviceClass.IPHONE_CPU: 0.05,
    DeviceClass.ANDROID_CPU: 0.10,
    DeviceClass.HOST_CPU: 0.15,
}
_CPUS = {
    Platform.IOS: DeviceClass.IPHONE_CPU,
    Platform.ANDROID: DeviceClass.ANDROID_CPU,
    Platform.HOST: DeviceClass.HOST_CPU,
}


def device_class(platform: Platform, target: Target) -> DeviceClass:
    """The class of a device of ``platform`` where a model runs on ``target``."""
    if target.unit is ComputeUnit.NPU:
        return DeviceClass.NPU
    if target.unit is ComputeUnit.GPU:
        return DeviceClass.GPU
    return _CPUS[platform]
