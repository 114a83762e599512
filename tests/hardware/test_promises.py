"""The driver and the runners keep on this phone what they promise on every device."""

from pathlib import Path

import pytest
from driver_conformance import PhoneDriverConformance, scripted_apps
from phone_under_test import PhoneUnderTest
from runner_conformance import LitertConformance, OnnxRuntimeConformance, OnPhone

from distillfarm.agent.drivers.android.apps import stored_apps
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.agent.protocols import DeviceDriver
from distillfarm.domain.hardware import DeviceInfo, parse_target


class TestDriver(PhoneDriverConformance):
    @pytest.fixture
    def driver(self, under_test: PhoneUnderTest, info: DeviceInfo, tmp_path: Path) -> DeviceDriver:
        working = [each.target for each in info.runtimes if each.works]
        store = RuntimeStore(under_test.settings.runtimes)
        return under_test.driver(scripted_apps(tmp_path, store), working[:1])


class OnThisPhone(OnPhone):
    @pytest.fixture
    def driver(self, under_test: PhoneUnderTest, info: DeviceInfo) -> DeviceDriver:
        wanted = parse_target(self.target)
        (support,) = (each for each in info.runtimes if each.target == wanted)
        if not support.works:
            pytest.skip(f"{self.target}: {support.refusal}")
        if info.emulated:
            self.size = {"max_warmup": 2, "iterations": 10, "max_sampling_s": 60.0}
        store = RuntimeStore(under_test.settings.runtimes)
        return under_test.driver(stored_apps(store), [])


class TestOnnxRuntime(OnThisPhone, OnnxRuntimeConformance):
    pass


class TestLitert(OnThisPhone, LitertConformance):
    pass
