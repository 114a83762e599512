"""What ``distillfarm doctor`` finds on phones, and what it tells their operator to do."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from adbutils import AdbClient
from android_phone import Lab, Phone
from python_adbd import Daemon

from distillfarm.agent.drivers.android import shell, state
from distillfarm.agent.drivers.android.checkup import checkup
from distillfarm.agent.drivers.android.source import charge_history
from distillfarm.agent.drivers.finding import Finding, Grade
from distillfarm.agent.settings import AgentSettings

WEEKS_S = 30 * 86400.0


@pytest.fixture
def settings(running_lab: Lab, phone_programs: Path, tmp_path: Path) -> AgentSettings:
    """An agent's that has all that phones run."""
    return AgentSettings(
        state_dir=tmp_path, adb_port=running_lab.server_port, runtimes_dir=phone_programs
    )


def found(settings: AgentSettings, serial: str) -> list[Finding]:
    """What is found on a phone, but for its disk: a stand-in's is a small one."""
    of_phone = [each for each in checkup(settings) if each.subject == f"phone {serial}"]
    return [each for each in of_phone if "MiB free" not in each.text]


def test_a_sound_phone_has_nothing_to_be_done(settings: AgentSettings, phone: Phone) -> None:
    (only,) = found(settings, phone.address)
    assert only.grade is Grade.GOOD
    assert only.text == (
        "2201122G, Qualcomm Snapdragon 8 Gen 1, Android, programs glibc-aarch64, emulated"
    )


def test_a_full_disk_is_found_with_what_may_go(settings: AgentSettings, phone: Phone) -> None:
    phone.fill_disk(left_bytes=20 * 2**20)
    (full,) = (each for each in checkup(settings) if each.grade is Grade.BAD)
    assert full.subject == f"phone {phone.address}"
    assert full.grade is Grade.BAD
    assert full.text.endswith("MiB free on /data/local/tmp")
    assert "/data/local/tmp/distillfarm" in full.remedy


@pytest.mark.parametrize(
    ("fed", "remedy"), [(False, "charge it: nothing feeds it now"), (True, "")]
)
def test_a_low_battery_is_found(
    settings: AgentSettings, phone: Phone, fed: bool, remedy: str
) -> None:
    phone.state.set_battery(12)
    phone.state.plug() if fed else phone.state.unplug()
    _, low = found(settings, phone.address)
    assert low == Finding(
        f"phone {phone.address}",
        Grade.POOR,
        "battery at 12 %: below 20 it gets no work",
        remedy,
    )


def test_a_battery_that_was_full_for_weeks_is_found(settings: AgentSettings, phone: Phone) -> None:
    phone.state.set_battery(100)
    phone.state.plug()
    device = shell.adb_client(port=settings.adb_port).device(phone.address)
    seen = state.parse(shell.run(device, state.COMMAND, timeout_s=20.0).text)
    charge_history(settings, phone.address).note(seen, time.time() - WEEKS_S)
    _, full = found(settings, phone.address)
    assert full.grade is Grade.POOR
    assert "full for 30 days, which makes it swell" in full.text


def test_a_hot_phone_is_found(settings: AgentSettings, phone: Phone) -> None:
    phone.state.set_temperature(41.0)
    _, warm = found(settings, phone.address)
    assert (warm.grade, warm.text) == (Grade.POOR, "41.0 °C: above 38 it gets no work")
    phone.state.set_temperature(52.0)
    _, hot = found(settings, phone.address)
    assert hot.grade is Grade.BAD


def test_missing_programs_are_found_with_the_way_to_each(
    settings: AgentSettings, phone: Phone, tmp_path: Path
) -> None:
    bare = settings.model_copy(update={"runtimes_dir": tmp_path / "none"})
    _, runner, onnxruntime, litert = found(bare, phone.address)
    assert runner.grade is Grade.BAD
    assert "`make runner FLAVOUR=glibc-aarch64`" in runner.remedy
    assert "`distillfarm runtimes add distillfarm-runner glibc-aarch64 FILE" in runner.remedy
    assert onnxruntime.remedy == "`distillfarm runtimes fetch onnxruntime glibc-aarch64`"
    assert litert.remedy == "`distillfarm runtimes fetch litert glibc-aarch64`"
    assert {onnxruntime.grade, litert.grade} == {Grade.POOR}


def test_a_phone_that_is_listed_and_silent_is_found(settings: AgentSettings, phone: Phone) -> None:
    phone.freeze()
    (silent,) = found(settings, phone.address)
    assert (silent.grade, silent.text) == (Grade.BAD, "silent")
    assert "connect again" in silent.remedy


def test_a_phone_on_the_network_that_is_not_connected_is_found(settings: AgentSettings) -> None:
    address = "10.77.254.2:5555"
    away = settings.model_copy(update={"adb_addresses": (address,)})
    (unconnected,) = found(away, address)
    assert unconnected.grade is Grade.BAD
    assert f"`adb -P {settings.adb_port} connect {address}`" in unconnected.remedy
    assert "debugging over Wi-Fi" in unconnected.remedy


@pytest.fixture
def unauthorized(running_lab: Lab) -> Iterator[str]:
    """The address of a phone that waits for its owner."""
    daemon = Daemon()
    daemon.faults.unauthorized = True
    client = AdbClient(port=running_lab.server_port, socket_timeout=10.0)
    client.connect(daemon.address)
    yield daemon.address
    client.disconnect(daemon.address)
    daemon.stop()


def test_a_phone_that_trusts_no_key_is_found(settings: AgentSettings, unauthorized: str) -> None:
    (waiting,) = found(settings, unauthorized)
    assert (waiting.grade, waiting.text) == (Grade.BAD, "unauthorized")
    assert "unlock the phone and accept this computer's key" in waiting.remedy
