"""What is changed on the phone is put back, what is sent arrives, and nothing is left behind."""

import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from adbutils import AdbDevice
from phone_under_test import PhoneUnderTest, Shown

from distillfarm.agent.drivers.android import shell
from distillfarm.agent.protocols import Attached
from distillfarm.domain.hardware import DeviceInfo

# Those that are changed, and those of radios that airplane mode takes along.
SETTINGS = (
    "settings get global stay_on_while_plugged_in",
    "settings get global airplane_mode_on",
    "settings get global wifi_on",
    "settings get global bluetooth_on",
    "settings get system screen_off_timeout",
    "settings get system screen_brightness",
    "settings get system screen_brightness_mode",
    "dumpsys deviceidle enabled",
)
AIRPLANE = "settings get global airplane_mode_on"
# Radios need a moment to come back.
RADIOS_S = 30
PLAIN = "/data/local/tmp/distillfarm-plain-push"


def read(device: AdbDevice) -> dict[str, str]:
    return {each: shell.run(device, each, timeout_s=30.0).text.strip() for each in SETTINGS}


def words(command: str) -> str:
    """What is asked for by a command, in a word or two."""
    return command.removeprefix("settings get ").removeprefix("dumpsys ")


async def test_settings_are_put_back(attached: Attached, device: AdbDevice, shown: Shown) -> None:
    before = read(device)
    async with attached.driver:
        during = read(device)
    for _ in range(RADIOS_S):
        if (after := read(device)) == before:
            break
        await asyncio.sleep(1.0)
    assert after == before
    assert during["settings get system screen_brightness"] == "10"
    changed = [name for name in SETTINGS if during[name] != before[name]]
    shown(f"changed and put back: {', '.join(map(words, changed))}")


async def test_airplane_mode_is_on_for_phones_on_a_cable_only(
    attached: Attached, device: AdbDevice, under_test: PhoneUnderTest, shown: Shown
) -> None:
    before = shell.run(device, AIRPLANE).text.strip()
    async with attached.driver:
        during = shell.run(device, AIRPLANE).text.strip()
    if under_test.by_cable:
        assert during == "1"
    else:
        assert during == before
    shown("on, by cable" if under_test.by_cable else "left alone: it would end the link")


async def test_a_file_arrives_by_its_digest_and_comes_back(
    attached: Attached, device: AdbDevice, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1_000_000))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    async with attached.driver as driver:
        remote = await driver.push(source, "model.bin")
        assert digest in remote
        assert shell.run(device, f"sha256sum {remote}", timeout_s=60.0).text.split()[0] == digest
        began_s = time.monotonic()
        await driver.push(source, "model.bin")
        again_s = time.monotonic() - began_s
        await driver.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    # Nothing is sent twice: this is one question, if any.
    assert again_s < 5
    shell.run(device, f"rm -rf {remote.rpartition('/')[0]}")


async def test_files_arrive_about_as_fast_as_by_adb_itself(
    *,
    attached: Attached,
    device: AdbDevice,
    under_test: PhoneUnderTest,
    info: DeviceInfo,
    tmp_path: Path,
    shown: Shown,
) -> None:
    size_mib = 8 if info.emulated else 64
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size_mib * 2**20))
    async with attached.driver as driver:
        began_s = time.monotonic()
        remote = await driver.push(source, "model.bin")
        ours_s = time.monotonic() - began_s
        adbs_s = timed(lambda: plain_push(under_test, source))
    shell.run(device, f"rm -rf {remote.rpartition('/')[0]} {PLAIN}")
    shown(
        f"{size_mib} MiB: {size_mib / ours_s:.1f} MiB/s with digest and room checked, "
        f"adb push {size_mib / adbs_s:.1f} MiB/s"
    )
    # The digest is taken on the phone beside the transfer.
    assert ours_s < 4 * adbs_s + 10


def plain_push(under_test: PhoneUnderTest, source: Path) -> None:
    command = ["adb", "-P", str(under_test.adb_port), "-s", under_test.serial, "push"]
    subprocess.run([*command, str(source), PLAIN], check=True, capture_output=True, timeout=600)


def timed(work: Callable[[], None]) -> float:
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s
