"""The runners keep what every ``Runner`` promises, on this computer and on a stand-in phone."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest
from adbutils import AdbDevice
from android_phone import Lab, Phone
from launches import GOLDEN, info, request
from runner_conformance import (
    CoreAiConformance,
    LitertConformance,
    OnHost,
    OnnxRuntimeConformance,
    OnPhone,
    one_launch,
)

from distillfarm.agent.drivers.android import shell
from distillfarm.agent.drivers.android.apps import stored_apps
from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.drivers.ios.job_files import decode_job, decode_result
from distillfarm.agent.drivers.ios.job_files import lines as job_lines
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.agent.program.order import Order
from distillfarm.agent.protocols import DeviceDriver, Exit, Launched, LaunchFailure, Runner
from distillfarm.agent.runners.coreml import CoreMlRunner
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.measurement import Outcome

JOBS = GOLDEN.parent / "iphone_jobs"
needs_coreai = pytest.mark.skipif(
    find_spec("coreai") is None, reason="no coreai: pip install 'distillfarm[coreai]'"
)


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


@needs_coreai
class TestCoreAiRunner(OnThisComputer, CoreAiConformance):
    """On a computer for its outputs; where it counts it is an iPhone's app that runs it."""

    async def test_what_only_an_iphone_has_is_refused(
        self, runner: Runner, driver: DeviceDriver
    ) -> None:
        job = request(self.model, "coreai/prefer_neural_engine/npu")
        result = await one_launch(runner, driver, *job)
        assert isinstance(result, LaunchFailure)
        assert "it has cpu_only" in result.reason

    async def test_a_damaged_model_is_refused_before_it_ends_the_process(
        self, runner: Runner, driver: DeviceDriver, tmp_path: Path
    ) -> None:
        damaged = bytearray(self.model.read_bytes())
        damaged[damaged.index(b"conv2d")] ^= 1
        (tmp_path / "damaged.aimodel.tar").write_bytes(damaged)
        job = request(tmp_path / "damaged.aimodel.tar", self.target)
        result = await one_launch(runner, driver, *job)
        assert isinstance(result, LaunchFailure)
        assert result.outcome is Outcome.REFUSED
        assert "its hash is another" in result.reason


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


class OneAnswer:
    """A driver on which every launch says the same; keeps what it was asked for."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = list(lines)
        self.launched: list[Order] = []

    async def push(self, source: Path, name: str) -> str:
        return f"cache/{name}"

    async def launch(
        self, app: str, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> "OneAnswer":
        self.launched.append(Order.from_arguments(arguments))
        return self

    clock_offset_s = None

    async def lines(self) -> AsyncIterator[str]:
        for line in self._lines:
            yield line

    async def wait(self) -> Exit:
        return Exit(0, False, False, "")

    async def kill(self) -> None:
        pass


class TestCoreMlRunner:
    """Core ML runs on Apple's systems alone: what its app is to answer stands in a golden file."""

    async def test_a_launch_is_what_the_app_told_and_claims_no_placement(self) -> None:
        job = decode_job((JOBS / "job_coreml.json").read_bytes())
        result = decode_result((JOBS / "result_coreml.json").read_bytes(), job)
        driver = OneAnswer(job_lines(result.events))
        asked, files = request(GOLDEN / "cnn.onnx", "coreml/cpu_and_neural_engine/npu")
        runner, device = CoreMlRunner(), cast(DeviceDriver, driver)
        prepared = await runner.prepare(device, asked, files)
        launched = await runner.launch(device, asked, prepared)
        assert isinstance(launched, Launched)
        assert launched.launch.memory.peak_method == "physFootprint"
        assert launched.launch.placements == ()
        assert launched.window is None
        (order,) = driver.launched
        assert (order.runtime, order.delegate) == ("coreml", "cpu_and_neural_engine")
        assert order.model == "cache/model.mlpackage.tar"

    def test_a_device_that_was_not_tried_is_refused(self) -> None:
        refusal = CoreMlRunner().refusal(info("onnxruntime/cpu"), parse_target("coreml/all/npu"))
        assert refusal is not None
        assert "is not offered by" in refusal


def test_every_registered_runner_is_tested_here() -> None:
    tested = {"onnxruntime", "litert", "coreml", "coreai"}
    assert {each.name for each in entry_points(group="distillfarm.runners")} == tested
