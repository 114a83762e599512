"""What every ``DeviceDriver`` promises, for whoever has a device to prove it on."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from adbutils import AdbDevice

from distillfarm.agent.drivers.android import shell
from distillfarm.agent.drivers.android.apps import App, Apps, stored_apps
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.agent.protocols import AppRun, DeviceDriver
from distillfarm.domain.errors import FarmError


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


PHONE_SCRIPTS = {
    "say": 'for word in "$@"; do echo "$word"; done; echo "$WORD"',
    "sleep": "setsid sleep 300 & echo $!; sleep 300",
    "fail": "echo sorry >&2; exit 3",
}


class PhoneDriverConformance(DeviceDriverConformance):
    """The same on a phone; the fixture ``device`` is the phone for adbutils."""

    @pytest.fixture(autouse=True)
    def _keep_device(self, device: AdbDevice) -> None:
        self.adb_device = device

    def alive(self, pid: int) -> bool:
        return shell.run(self.adb_device, f"kill -0 {pid}").code == 0

    async def test_leaves_nothing_but_the_cache(self, driver: DeviceDriver, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x")
        before = self._lying_there() | {"distillfarm"}
        async with driver:
            await driver.push(source, "model.bin")
            await (await driver.launch("fail", [], {}, 20.0)).wait()
        assert self._lying_there() == before
        search = "grep -lsz DISTILLFARM_JOB= /proc/[0-9]*/environ"
        assert shell.run(self.adb_device, search).text == ""

    def _lying_there(self) -> set[str]:
        return set(shell.run(self.adb_device, "ls -A /data/local/tmp").text.split())


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
