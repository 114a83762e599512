"""The drivers keep what every ``DeviceDriver`` promises."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import entry_points
from pathlib import Path

import psutil
import pytest
from adbutils import AdbDevice
from android_phone import Lab, Phone
from driver_conformance import (
    DeviceDriverConformance,
    PhoneDriverConformance,
    first_line,
    scripted_apps,
)
from iphone_station import SCRIPTS, TARGETS, Station

from distillfarm.agent.drivers.android import jobs, shell
from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.host.driver import PROGRAMS, HostDriver
from distillfarm.agent.drivers.ios.driver import IosDriver
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.agent.protocols import DeviceDriver
from distillfarm.domain.hardware import parse_target

SAY = "import os, sys; print(*sys.argv[1:], os.environ['WORD'], sep='\\n')"
SLEEP = (
    "import subprocess, time; child = subprocess.Popen(['sleep', '300'], start_new_session=True); "
    "print(child.pid, flush=True); time.sleep(300)"
)
FAIL = "import sys; sys.stderr.write('sorry'); sys.exit(3)"
APPS = {"say": SAY, "sleep": SLEEP, "fail": FAIL}


def host_driver(folder: Path) -> HostDriver:
    apps = {name: (sys.executable, "-I", "-c", code) for name, code in APPS.items()}
    return HostDriver(folder, programs={**PROGRAMS, **apps})


class TestHostDriver(DeviceDriverConformance):
    @pytest.fixture
    def driver(self, tmp_path: Path) -> DeviceDriver:
        return host_driver(tmp_path / "agent" / "host")

    async def test_leaves_no_file(self, driver: DeviceDriver, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x")
        async with driver:
            await driver.push(source, "model.bin")
            await (await driver.launch("fail", [], {}, 20.0)).wait()
        assert not (tmp_path / "agent" / "host").exists()

    def test_what_runs_dies_with_an_agent_that_is_killed(self, tmp_path: Path) -> None:
        agent = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(tmp_path / "host"), SLEEP],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert agent.stdout is not None
        started = int(agent.stdout.readline())
        assert psutil.pid_exists(started)
        os.kill(agent.pid, signal.SIGKILL)
        agent.wait()
        agent.stdout.close()
        wait_until(lambda: not self.alive(started))


AGENT = """
import asyncio, sys
from pathlib import Path
from distillfarm.agent.drivers.host.driver import HostDriver

async def main():
    app = (sys.executable, "-I", "-c", sys.argv[2])
    async with HostDriver(Path(sys.argv[1]), programs={"sleep": app}) as driver:
        run = await driver.launch("sleep", [], {}, 300.0)
        async for line in run.lines():
            print(line, flush=True)

asyncio.run(main())
"""


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.phones
class TestAndroidDriver(PhoneDriverConformance):
    """On a stand-in phone: AOSP's daemon with arm64 code behind it."""

    @pytest.fixture
    def device(self, running_lab: Lab, phone: Phone) -> AdbDevice:
        return shell.adb_client(port=running_lab.server_port).device(phone.address)

    @pytest.fixture
    def driver(
        self, running_lab: Lab, device: AdbDevice, phone_programs: Path, tmp_path: Path
    ) -> DeviceDriver:
        self.lab = running_lab
        return self.agents_driver(device, tmp_path, RuntimeStore(phone_programs))

    def agents_driver(self, device: AdbDevice, folder: Path, store: RuntimeStore) -> AndroidDriver:
        """A driver as an agent makes it that keeps its things in ``folder``."""
        client = shell.adb_client(port=self.lab.server_port)
        serial = str(device.serial)
        return AndroidDriver(
            PhoneLine(client, serial, address=serial),
            SettingsGuard(folder / "settings.json", by_cable=False),
            scripted_apps(folder, store),
            [parse_target("onnxruntime")],
        )

    async def test_what_an_agent_left_that_died_is_ended_and_put_back(
        self, driver: DeviceDriver, device: AdbDevice, tmp_path: Path
    ) -> None:
        brightness = "settings get system screen_brightness"
        shell.run(device, "settings put system screen_brightness 77")
        await driver.__aenter__()
        started = await first_line(await driver.launch("sleep", [], {}, 300.0))
        assert shell.run(device, brightness).text.strip() == "10"
        # Another agent on the same computer, without a word from the one before.
        async with self.agents_driver(device, tmp_path, RuntimeStore(tmp_path)):
            assert not self.alive(int(started))
        assert shell.run(device, brightness).text.strip() == "77"

    async def test_a_launch_that_is_cancelled_while_it_begins_leaves_nothing_running(
        self, driver: DeviceDriver, device: AdbDevice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, start = threading.Event(), jobs.start

        def slow(*arguments: object) -> object:
            job = start(*arguments)  # type: ignore[arg-type]
            begun.set()
            time.sleep(1.0)
            return job

        monkeypatch.setattr(jobs, "start", slow)
        async with driver:
            launch = asyncio.create_task(driver.launch("sleep", [], {}, 60.0))
            await asyncio.to_thread(begun.wait, 30)
            launch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await launch
            search = "grep -lsz DISTILLFARM_JOB= /proc/[0-9]*/environ"
            assert shell.run(device, search).text == ""


@pytest.mark.phones
class TestIosDriver(DeviceDriverConformance):
    """On stand-in iPhones: iOS 16 over lockdown, 17.5 through its tunnel."""

    @pytest.fixture
    async def driver(self, station: Station) -> AsyncIterator[DeviceDriver]:
        scripts = {name: station.script(name) for name in SCRIPTS}
        driver = IosDriver(station.line, {**station.apps(), **scripts}, TARGETS)
        yield driver
        await driver.close()


def test_every_registered_driver_is_tested_here() -> None:
    tested = {"android": TestAndroidDriver, "host": TestHostDriver, "ios": TestIosDriver}
    assert {each.name for each in entry_points(group="distillfarm.drivers")} == set(tested)
