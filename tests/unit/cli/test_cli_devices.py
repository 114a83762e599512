import json
import time
from dataclasses import replace

import msgspec
from cli_lab import Lab, Run
from farm_samples import DIGEST, device_info

from distillfarm.domain.hardware import (
    Chipset,
    Cluster,
    Device,
    DeviceHealth,
    DeviceInfo,
    DeviceStatus,
    Gpu,
    Platform,
)


def test_list_shows_what_runs_where(lab: Lab, run_cli: Run) -> None:
    result = run_cli("devices", "list")
    assert result.exit_code == 0
    assert "device-1" in result.stdout
    assert "Tensor G2" in result.stdout
    assert "onnxruntime/cpu/cpu" in result.stdout


def test_list_as_json_decodes_to_domain_types(lab: Lab, run_cli: Run) -> None:
    result = run_cli("devices", "list", "--json")
    assert msgspec.json.decode(result.stdout, type=list[Device]) == lab.devices


def test_list_takes_a_selector(lab: Lab, run_cli: Run) -> None:
    assert json.loads(run_cli("devices", "list", "--device", "platform=ios", "--json").stdout) == []


def test_empty_list_says_how_to_get_devices(lab: Lab, run_cli: Run) -> None:
    lab.devices = []
    assert "distillfarm agent" in run_cli("devices", "list").stdout


def test_hostile_names_cannot_reach_the_terminal(lab: Lab, run_cli: Run) -> None:
    evil = "\x1b]0;owned\x07\x1b[31mred\nnewline\u202e[bold]markup[/bold][/x]"
    lab.devices = [replace(lab.devices[0], info=device_info(model=evil), note=evil, labels=(evil,))]
    for arguments in (("devices", "list"), ("devices", "show", "device-1")):
        result = run_cli(*arguments)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert "\x07" not in result.stdout
        assert "\u202e" not in result.stdout
        assert "red newline" in result.stdout
        assert "[bold]markup[/bold][/x]" in result.stdout


def test_show_tells_why_a_runtime_does_not_work(lab: Lab, run_cli: Run) -> None:
    lab.devices = [replace(lab.devices[0], info=device_info(refusal="no such library"))]
    assert "no: no such library" in run_cli("devices", "show", "device-1").stdout


def test_unknown_device_is_one_line_on_stderr(lab: Lab, run_cli: Run) -> None:
    result = run_cli("devices", "show", "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "distillfarm: no device nowhere\n"


def test_drain_passes_the_note_and_shows_the_state(lab: Lab, run_cli: Run) -> None:
    result = run_cli("devices", "drain", "device-1", "--note", "broken screen", "--json")
    drained = msgspec.json.decode(result.stdout, type=Device)
    assert drained.status is DeviceStatus.DRAINED
    assert lab.notes == ["broken screen"]
    assert "drained: broken screen" in run_cli(
        "devices", "drain", "device-1", "--note", "broken screen"
    ).stdout.replace("  ", " ")


def test_undrain_gives_it_work_again(lab: Lab, run_cli: Run) -> None:
    device = msgspec.json.decode(
        run_cli("devices", "undrain", "device-1", "--json").stdout, type=Device
    )
    assert device.status is DeviceStatus.IDLE


def labels(lab: Lab) -> tuple[str, ...]:
    return lab.devices[0].labels


def test_labels_are_replaced_added_and_removed(lab: Lab, run_cli: Run) -> None:
    assert run_cli("devices", "label", "device-1", "desk-3", "wired").exit_code == 0
    assert labels(lab) == ("desk-3", "wired")
    changed = run_cli("devices", "label", "device-1", "--add", "new", "--remove", "desk-3")
    assert "wired, new" in changed.stdout
    assert labels(lab) == ("wired", "new")
    run_cli("devices", "label", "device-1", "--add", "new")
    assert labels(lab) == ("wired", "new")
    run_cli("devices", "label", "device-1")
    assert labels(lab) == ()


def test_all_labels_and_changes_of_them_exclude_each_other(lab: Lab, run_cli: Run) -> None:
    result = run_cli("devices", "label", "device-1", "desk-3", "--add", "wired")
    assert (result.exit_code, labels(lab)) == (1, ())
    assert "not both" in result.stderr


def test_a_name_is_given_shown_and_then_understood(lab: Lab, run_cli: Run) -> None:
    run_cli("devices", "name", "device-1", "left")
    assert "left" in run_cli("devices", "list").stdout
    assert run_cli("devices", "name", "left", "").exit_code == 0
    assert lab.devices[0].name == ""


def test_a_quarantine_needs_a_reason_and_tells_it(lab: Lab, run_cli: Run) -> None:
    assert run_cli("devices", "quarantine", "device-1").exit_code != 0
    run_cli("devices", "quarantine", "device-1", "--reason", "swollen battery")
    assert "quarantined: swollen battery" in run_cli("devices", "list").stdout


def test_undraining_and_releasing_say_when_the_other_still_holds(lab: Lab, run_cli: Run) -> None:
    run_cli("devices", "quarantine", "device-1", "--reason", "swollen")
    told = run_cli("devices", "undrain", "device-1").stderr
    assert "stays quarantined" in told
    assert "distillfarm devices release device-1" in told
    lab.released = DeviceStatus.DRAINED
    told = run_cli("devices", "release", "device-1").stderr
    assert "distillfarm devices undrain device-1" in told
    lab.released = DeviceStatus.IDLE
    assert run_cli("devices", "release", "device-1").stderr == ""


def test_list_shows_how_devices_fare_and_how_old_that_is(lab: Lab, run_cli: Run) -> None:
    fresh = DeviceHealth("phone-1", time.time(), 81.0, "charging", 41.2, 3)
    lab.devices = [replace(lab.devices[0], health=fresh)]
    shown = run_cli("devices", "list").stdout
    assert "81 % charging" in shown
    assert "41.2 °C, severe throttling" in shown
    assert "ago" not in shown
    lab.devices = [replace(lab.devices[0], health=replace(fresh, seen_at_s=time.time() - 7500))]
    assert "81 % charging (2 h 05 min ago)" in run_cli("devices", "list").stdout


def test_show_tells_clusters_graphics_libraries_and_health(lab: Lab, run_cli: Run) -> None:
    info = replace(
        lab.devices[0].info,
        codename="husky",
        board="zuma",
        clusters=(Cluster(1_704_000, (0, 1, 2, 3)), Cluster(2_914_000, (8,))),
        gpu=Gpu("ARM", "Mali-G715", "v1.r43p0"),
        npu_libraries=("libedgetpu_util.so",),
    )
    health = DeviceHealth("phone-1", 1e9, trouble="the disk is full")
    lab.devices = [replace(lab.devices[0], info=info, health=health)]
    shown = run_cli("devices", "show", "device-1").stdout
    for text in (
        "husky", "zuma", "4x1.70 GHz, mask f, cores 0, 1, 2, 3", "mask 100",
        "ARM Mali-G715, driver v1.r43p0", "libedgetpu_util.so", "the disk is full", "not told",
    ):  # fmt: skip
        assert text in shown


def test_forgiving_a_model_tells_what_is_forgiven(lab: Lab, run_cli: Run) -> None:
    lab.fellings = {DIGEST: 3}
    assert "took devices down 3 times" in run_cli("devices", "forgive", DIGEST).stdout
    assert "took no device down" in run_cli("devices", "forgive", DIGEST).stdout


def test_show_names_the_profile_and_what_is_known_of_such_a_phone(lab: Lab, run_cli: Run) -> None:
    lab.devices = [replace(lab.devices[0], info=phone("SM-G991B", "Exynos 2100"))]
    told = " ".join(run_cli("devices", "show", "device-1").stdout.split())
    assert "Samsung Galaxy S21 (Exynos), Samsung Exynos 2100" in told
    assert "Known of such devices" in told
    assert "https://" in told


def test_show_says_that_no_profile_fits(lab: Lab, run_cli: Run) -> None:
    lab.devices = [replace(lab.devices[0], info=phone("Nothing known", "xyz"))]
    assert "no phone, no chipset" in run_cli("devices", "show", "device-1").stdout


def phone(model: str, chipset: str) -> DeviceInfo:
    info = device_info(model=model)
    return replace(info, platform=Platform.ANDROID, chipset=Chipset("", chipset))
