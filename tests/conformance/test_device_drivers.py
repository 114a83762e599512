"""What every ``DeviceDriver`` promises."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import psutil
import pytest
from adbutils import AdbDevice
from android_phone import Lab, Phone

from distillfarm.agent.drivers.android import shell
from distillfarm.agent.drivers.android.apps import App, Apps, stored_apps
from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.host.driver import PROGRAMS, HostDriver
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.agent.protocols import AppRun, DeviceDriver
from distillfarm.domain.errors import FarmError
from distillfarm.domain.hardware import parse_target


class DeviceDriverConformance:
    """Subclasses give ``driver``, with the apps ``say``, ``sleep`` and ``fail`` installed.

    ``say`` prints its arguments, a line each, then the variable ``WORD``; ``sleep`` starts a
    process of its own and sleeps for long; ``fail`` writes ``sorry`` to standard error and leaves
    with code 3.
    """

    @pytest.fixture
    def driver(self, tmp_path: Path) -> DeviceDriver:
        raise NotImplementedError

    async def test_says_the_same_of_the_device_twice(self, driver: DeviceDriver) -> None:
        async with driver:
            first = await driver.probe()
            assert first == await driver.probe()
        assert first.serial
        assert first.os_build
        assert first.cores > 0
        assert first.memory_bytes > 0
        assert any(each.works for each in first.runtimes)
        assert all(each.version for each in first.runtimes if each.works)

    async def test_what_is_pushed_comes_back(self, driver: DeviceDriver, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(bytes(range(256)) * 1000)
        async with driver:
            remote = await driver.push(source, "model.bin")
            assert remote.endswith("model.bin")
            assert await driver.push(source, "model.bin") == remote
            await driver.pull(remote, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()

    async def test_a_name_with_a_folder_is_refused(
        self, driver: DeviceDriver, tmp_path: Path
    ) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x")
        async with driver:
            with pytest.raises(FarmError):
                await driver.push(source, "../model.bin")

    async def test_a_launch_takes_arguments_and_environment(self, driver: DeviceDriver) -> None:
        async with driver:
            run = await driver.launch("say", ["a b", "c"], {"WORD": "d"}, 20.0)
            assert [line async for line in run.lines()] == ["a b", "c", "d"]
            ended = await run.wait()
            assert (ended.code, ended.timed_out, ended.out_of_memory) == (0, False, False)
            assert await run.wait() == ended

    async def test_an_exit_code_and_the_last_words_come_through(self, driver: DeviceDriver) -> None:
        async with driver:
            ended = await (await driver.launch("fail", [], {}, 20.0)).wait()
        assert ended.code == 3
        assert "sorry" in ended.stderr_tail

    async def test_an_unknown_app_is_refused(self, driver: DeviceDriver) -> None:
        async with driver:
            with pytest.raises(FarmError):
                await driver.launch("nothing", [], {}, 20.0)

    async def test_a_launch_is_ended_when_its_time_is_over(self, driver: DeviceDriver) -> None:
        async with driver:
            run = await driver.launch("sleep", [], {}, 1.0)
            ended = await run.wait()
        assert ended.timed_out

    async def test_killing_ends_all_that_was_started_and_can_be_repeated(
        self, driver: DeviceDriver
    ) -> None:
        async with driver:
            run = await driver.launch("sleep", [], {}, 60.0)
            started = await first_line(run)
            await run.kill()
            await run.kill()
            assert not self.alive(int(started))

    async def test_leaving_ends_what_still_runs(self, driver: DeviceDriver) -> None:
        async with driver:
            run = await driver.launch("sleep", [], {}, 60.0)
            started = await first_line(run)
        assert not self.alive(int(started))
        await driver.reset()

    async def test_a_cancelled_wait_ends_the_launch_first(self, driver: DeviceDriver) -> None:
        async with driver:
            run = await driver.launch("sleep", [], {}, 60.0)
            started = await first_line(run)
            waiting = asyncio.create_task(run.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not self.alive(int(started))

    async def test_tells_of_its_state(self, driver: DeviceDriver) -> None:
        async with driver:
            context = await driver.context()
        assert context
        assert all(value for value in context.values())

    async def test_can_be_entered_again(self, driver: DeviceDriver) -> None:
        for _ in range(2):
            async with driver:
                run = await driver.launch("say", [], {"WORD": "x"}, 20.0)
                assert [line async for line in run.lines()] == ["x"]

    def alive(self, pid: int) -> bool:
        """Whether a process on the device runs."""
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def first_line(run: AppRun) -> str:
    async with asyncio.timeout(20):
        async for line in run.lines():
            return line
    raise AssertionError("it ended without a word")


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


PHONE_SCRIPTS = {
    "say": 'for word in "$@"; do echo "$word"; done; echo "$WORD"',
    "sleep": "setsid sleep 300 & echo $!; sleep 300",
    "fail": "echo sorry >&2; exit 3",
}


@pytest.mark.phones
class TestAndroidDriver(DeviceDriverConformance):
    """On a stand-in phone: AOSP's daemon with arm64 code behind it."""

    @pytest.fixture
    def device(self, running_lab: Lab, phone: Phone) -> AdbDevice:
        return shell.adb_client(port=running_lab.server_port).device(phone.address)

    @pytest.fixture
    def driver(
        self, running_lab: Lab, device: AdbDevice, phone_programs: Path, tmp_path: Path
    ) -> DeviceDriver:
        self.lab, self.adb_device = running_lab, device
        return self.agents_driver(tmp_path, RuntimeStore(phone_programs))

    def agents_driver(self, folder: Path, store: RuntimeStore) -> AndroidDriver:
        """A driver as an agent makes it that keeps its things in ``folder``."""
        client = shell.adb_client(port=self.lab.server_port)
        serial = str(self.adb_device.serial)
        return AndroidDriver(
            PhoneLine(client, serial, address=serial),
            SettingsGuard(folder / "settings.json", by_cable=False),
            scripted_apps(folder, store),
            [parse_target("onnxruntime")],
        )

    def alive(self, pid: int) -> bool:
        return shell.run(self.adb_device, f"kill -0 {pid}").code == 0

    async def test_leaves_nothing_but_the_cache(self, driver: DeviceDriver, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x")
        async with driver:
            await driver.push(source, "model.bin")
            await (await driver.launch("fail", [], {}, 20.0)).wait()
        assert shell.run(self.adb_device, "ls /data/local/tmp").text.split() == ["distillfarm"]

    async def test_what_an_agent_left_that_died_is_ended_and_put_back(
        self, driver: DeviceDriver, tmp_path: Path
    ) -> None:
        brightness = "settings get system screen_brightness"
        shell.run(self.adb_device, "settings put system screen_brightness 77")
        await driver.__aenter__()
        started = await first_line(await driver.launch("sleep", [], {}, 300.0))
        assert shell.run(self.adb_device, brightness).text.strip() == "10"
        # Another agent on the same computer, without a word from the one before.
        async with self.agents_driver(tmp_path, RuntimeStore(tmp_path)):
            assert not self.alive(int(started))
        assert shell.run(self.adb_device, brightness).text.strip() == "77"


def scripted_apps(folder: Path, store: RuntimeStore) -> Apps:
    """The stored apps and those that the conformance needs, as scripts for Android's shell."""
    stored = stored_apps(store)
    for name, script in PHONE_SCRIPTS.items():
        (folder / name).write_text(f"#!/system/bin/sh\n{script}\n")

    def find(name: str, arguments: Sequence[str], flavour: str) -> App:
        if name in PHONE_SCRIPTS:
            return App(folder / name, (folder / name,))
        return stored(name, arguments, flavour)

    return find


def test_every_registered_driver_is_tested_here() -> None:
    tested = {"android": TestAndroidDriver, "host": TestHostDriver}
    assert {each.name for each in entry_points(group="distillfarm.drivers")} == set(tested)
