import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cli_lab import Lab, Run
from farm_samples import device_info

from distillfarm.agent.drivers.android import checkup
from distillfarm.agent.drivers.android.usb import UsbPhone
from distillfarm.cli import doctor
from distillfarm.cli.doctor import State
from distillfarm.domain.hardware import DeviceStatus


def test_doctor_names_python_packages_devices_disk_and_meter(lab: Lab, run_cli: Run) -> None:
    checks = json.loads(run_cli("doctor", "--json").stdout)
    states = {check["subject"]: check["state"] for check in checks}
    for subject in (
        "python",
        "distillfarm",
        "extra agent",
        "controller",
        "device device-1",
        "disk",
    ):
        assert states[subject] == "ok"
    assert {"power meter", "adb"} <= states.keys()
    assert "onnxruntime" in next(c["finding"] for c in checks if c["subject"] == "extra agent")


def test_a_runtime_that_does_not_work_is_a_warning_with_its_reason(lab: Lab, run_cli: Run) -> None:
    lab.devices = [replace(lab.devices[0], info=device_info(refusal="no such library"))]
    result = run_cli("doctor")
    assert result.exit_code == 0
    assert "warn device device-1: onnxruntime/cpu/cpu: no such library" in result.stdout


def test_offline_devices_point_to_their_agent(lab: Lab, run_cli: Run) -> None:
    lab.devices = [replace(lab.devices[0], status=DeviceStatus.OFFLINE, note="unplugged")]
    assert "offline unplugged; look at its agent, agent-1" in run_cli("doctor").stdout


def test_a_named_controller_that_is_silent_fails(lab: Lab, run_cli: Run) -> None:
    result = run_cli("doctor", "--controller", "127.0.0.1:9")
    assert result.exit_code == 1
    assert "fail controller: 127.0.0.1:9 does not answer" in result.stdout


def test_missing_extras_say_what_they_are_for(
    lab: Lab, run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_extras", lambda: {"ios": ["no-phone"], "agent": ["no-runtime"]})
    lines = run_cli("doctor").stdout.splitlines()
    assert (
        "ok   extra ios: not installed: no-phone; only for iPhones on this computer: "
        "pip install 'distillfarm[ios]'"
    ) in lines
    assert any(line.startswith("warn extra agent: not installed: no-runtime") for line in lines)


def test_the_power_meter_is_found_missing_unreadable_or_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor._power(tmp_path).state is State.WARN
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "energy_uj").write_text("no number")
    assert "cannot be read" in doctor._power(tmp_path).finding
    (zone / "energy_uj").write_text("123\n")
    assert doctor._power(tmp_path).state is State.OK


def test_a_full_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    check = doctor._disk(tmp_path / "not" / "yet")
    assert check.state is State.FAIL
    assert "--state-dir" in check.remedy


def android_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line[5:].startswith(("adb", "phone", "USB"))]


def test_without_adb_it_is_told_what_brings_it(
    lab: Lab, run_cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(checkup, "usb_phones", lambda: ())
    result = run_cli("doctor")
    assert android_lines(result.stdout) == [
        "warn adb: not installed; only needed for Android phones; "
        "on Debian: apt install adb android-sdk-platform-tools-common"
    ]
    assert result.exit_code == 0


def test_a_phone_on_usb_makes_missing_adb_a_failure(
    lab: Lab, run_cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    phone = UsbPhone("Google Pixel 8", "38A", "1-2", 480.0, debugging=True)
    monkeypatch.setattr(checkup, "usb_phones", lambda: (phone,))
    result = run_cli("doctor")
    assert android_lines(result.stdout)[0].startswith("fail adb: not installed")
    assert result.exit_code == 1


def test_without_a_server_it_is_told_who_starts_one(
    lab: Lab, run_cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "adb").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = android_lines(run_cli("doctor").stdout)
    assert lines == [
        f"ok   adb: {tmp_path / 'adb'}",
        "warn adb server: none listens on port 1, so no phone is seen; start the agent, which "
        "starts one, or run `adb -P 1 start-server`",
    ]


def test_a_setting_that_is_none_is_named(
    lab: Lab, run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILLFARM_AGENT_ADB_PORT", "abc")
    result = run_cli("doctor")
    assert result.exit_code == 1
    assert "fail agent settings: setting adb_port: Input should be a valid integer" in result.stdout
