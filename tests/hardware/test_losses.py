"""A job outlives what happens to the link; what happens to the phone is told as that."""

import asyncio
import subprocess
import time

import pytest
from adbutils import AdbDevice
from launches import GOLDEN, LEASE, request
from phone_under_test import ALLOW_REBOOT, PhoneUnderTest, Shown

from distillfarm.agent import plugins
from distillfarm.agent.drivers.android import faults, link, readings, shell
from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Probed
from distillfarm.agent.protocols import Attached
from distillfarm.domain.agent import Assign
from distillfarm.domain.errors import DeviceFelled
from distillfarm.domain.hardware import DeviceInfo, Runtime
from distillfarm.domain.measurement import Measurement, Outcome

# The job samples for as long, so that there is a middle in which something can happen.
SAMPLING_S = 20.0
# A person's way to the shelf.
WALK_S = 120.0
RESTART_S = 300.0


@pytest.fixture
def touched(under_test: PhoneUnderTest, info: DeviceInfo) -> None:
    """For tests that a person has to allow, at a phone that can be touched."""
    if info.emulated:
        pytest.skip("emulated: there is no phone to unplug or to restart")
    if not under_test.allow_reboot:
        pytest.skip(f"not allowed: make hw-android SERIAL=... ALLOW_REBOOT=1 ({ALLOW_REBOOT}=1)")


def begun(attached: Attached, info: DeviceInfo) -> "asyncio.Task[Measurement]":
    """A job on the CPU that is in the middle of its samples for a while."""
    working = [each.target for each in info.runtimes if each.works]
    target = working[0]
    model = "cnn.onnx" if target.runtime is Runtime.ONNXRUNTIME else "cnn.tflite"
    job, files = request(
        GOLDEN / model,
        str(target),
        launches=1,
        iterations=10**5,
        max_sampling_s=SAMPLING_S,
        launch_timeout_s=RESTART_S,
    )
    runner = plugins.runner(target.runtime)
    return asyncio.create_task(
        run_job(Probed(attached, info), runner, Assign(LEASE, job), files, lambda *_: None)
    )


async def in_the_middle(device: AdbDevice) -> None:
    """Until the runner runs on the phone, and a little longer."""
    search = "grep -lsz DISTILLFARM_JOB= /proc/[0-9]*/environ"
    async with asyncio.timeout(300):
        while not (await asyncio.to_thread(shell.run, device, search)).text:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await asyncio.sleep(3)


def tell(pytestconfig: pytest.Config, words: str) -> None:
    """Say something to the person in front of the terminal."""
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        terminal.write_line(f"\n>>> {words}")


async def test_a_job_outlives_the_adb_server(
    attached: Attached, info: DeviceInfo, device: AdbDevice, under_test: PhoneUnderTest
) -> None:
    job = begun(attached, info)
    await in_the_middle(device)
    assert not job.done()
    kill = ["adb", "-P", str(under_test.adb_port), "kill-server"]
    await asyncio.to_thread(subprocess.run, kill, check=True, capture_output=True, timeout=30)
    measurement = await job
    assert (measurement.outcome, measurement.reason) == (Outcome.OK, "")
    assert measurement.launches[0].samples_ns


async def test_a_job_outlives_an_unplugged_cable(
    *,
    attached: Attached,
    info: DeviceInfo,
    device: AdbDevice,
    under_test: PhoneUnderTest,
    touched: None,
    pytestconfig: pytest.Config,
) -> None:
    if not under_test.by_cable:
        pytest.skip("this phone hangs on no cable")
    job = begun(attached, info)
    await in_the_middle(device)
    tell(pytestconfig, "unplug the phone now, wait 10 s, and plug it in again")
    await until_listed(under_test, listed=False)
    tell(pytestconfig, "it is unplugged; plug it in again after 10 s")
    measurement = await job
    assert (measurement.outcome, measurement.reason) == (Outcome.OK, "")


async def test_a_restart_under_a_job_is_told_as_such(
    *,
    attached: Attached,
    info: DeviceInfo,
    device: AdbDevice,
    under_test: PhoneUnderTest,
    touched: None,
    pytestconfig: pytest.Config,
    shown: Shown,
) -> None:
    before = boot_id(device)
    job = begun(attached, info)
    await in_the_middle(device)
    tell(pytestconfig, "the phone is restarted; unlock it when it asks for its code")
    began_s = time.monotonic()
    restart = ["adb", "-P", str(under_test.adb_port), "-s", under_test.serial, "reboot"]
    await asyncio.to_thread(subprocess.run, restart, check=True, capture_output=True, timeout=60)
    with pytest.raises(DeviceFelled, match=faults.REBOOTED.name):
        await job
    shown(f"told {time.monotonic() - began_s:.0f} s after the restart was asked for")
    assert boot_id(device) not in ("", before)


def boot_id(device: AdbDevice) -> str:
    return shell.run(device, readings.BOOT_COMMAND).text.strip()


async def until_listed(under_test: PhoneUnderTest, *, listed: bool) -> None:
    async with asyncio.timeout(WALK_S):
        while (under_test.serial in link.states(under_test.client)) is not listed:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
