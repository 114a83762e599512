"""The runners keep what every ``Runner`` promises, on this computer and on a stand-in phone."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from adbutils import AdbDevice
from android_phone import Lab, Phone
from runner_conformance import LitertConformance, OnHost, OnnxRuntimeConformance, OnPhone

from distillfarm.agent.drivers.android import shell
from distillfarm.agent.drivers.android.apps import stored_apps
from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.agent.protocols import DeviceDriver


class OnThisComputer(OnHost):
    @pytest.fixture
    def driver(self, tmp_path: Path) -> DeviceDriver:
        return HostDriver(tmp_path / "agent" / "host", memory_bytes=2 << 30)


class TestOnnxRuntimeRunner(OnThisComputer, OnnxRuntimeConformance):
    pass


class TestLitertRunner(OnThisComputer, LitertConformance):
    pass


class TestLitertRunnerWithoutDelegate(OnThisComputer, LitertConformance):
    target = "litert/none"


class OnStandIn(OnPhone):
    """The native runner as arm64 code, behind AOSP's daemon."""

    # An emulated phone computes some hundred times slower.
    size: Mapping[str, float] = {"max_warmup": 2, "iterations": 10, "max_sampling_s": 60.0}

    @pytest.fixture
    def device(self, running_lab: Lab, phone: Phone) -> AdbDevice:
        return shell.adb_client(port=running_lab.server_port).device(phone.address)

    @pytest.fixture
    def driver(
        self, running_lab: Lab, device: AdbDevice, phone_programs: Path, tmp_path: Path
    ) -> DeviceDriver:
        client, serial = shell.adb_client(port=running_lab.server_port), str(device.serial)
        return AndroidDriver(
            PhoneLine(client, serial, address=serial),
            SettingsGuard(tmp_path / "settings.json", by_cable=False),
            stored_apps(RuntimeStore(phone_programs)),
            [],
        )


@pytest.mark.phones
class TestOnnxRuntimeRunnerOnPhone(OnStandIn, OnnxRuntimeConformance):
    pass


@pytest.mark.phones
class TestLitertRunnerOnPhone(OnStandIn, LitertConformance):
    pass


def test_every_registered_runner_is_tested_here() -> None:
    tested = {"onnxruntime", "litert"}
    assert {each.name for each in entry_points(group="distillfarm.runners")} == tested
