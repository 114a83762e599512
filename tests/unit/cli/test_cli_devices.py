import json
from dataclasses import replace

import msgspec
from cli_lab import Lab, Run
from farm_samples import device_info

from distillfarm.domain.hardware import Device, DeviceStatus


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
