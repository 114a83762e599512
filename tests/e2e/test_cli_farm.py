"""The embedded farm as real processes: up, found by commands, mended, and gone without a trace."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from distillfarm.cli.measuring import Measured
from distillfarm.cli.tenancy import running_farm
from distillfarm.domain.measurement import Outcome

pytestmark = pytest.mark.e2e

PARTS = {"controller", "agent", "worker"}


class Farm:
    """``distillfarm up`` on free ports, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.process = start(self.state_dir)

    def wait_healthy(self) -> None:
        """Until commands find the farm."""
        wait_until(lambda: running_farm(self.state_dir) is not None, 120)

    def parts(self) -> dict[str, psutil.Process]:
        """The farm's living children by their command; the dead have none."""
        children = psutil.Process(self.process.pid).children()
        commands = [(child, command_of(child)) for child in children]
        return {command[3]: child for child, command in commands if command}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command beside the farm."""
        return run(*arguments, "--state-dir", str(self.state_dir))


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """A healthy farm; nothing of it may be left afterwards."""
    started = Farm(tmp_path)
    try:
        started.wait_healthy()
        yield started
    finally:
        started.process.kill()
        started.process.wait()
    wait_until(lambda: not belonging_to(tmp_path), 30)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The smallest model worth measuring: y = relu(x)."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
    )
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def test_up_serves_commands_and_ends_in_order(farm: Farm, model: Path) -> None:
    assert farm.parts().keys() == PARTS
    devices = json.loads(farm.run("devices", "list", "--json").stdout)
    assert [device["info"]["platform"] for device in devices] == ["host"]

    measured = farm.run(
        *("measure", str(model), "--runtime", "onnxruntime"),
        *("--launches", "2", "--iterations", "20", "--json"),
    )
    result = msgspec.json.decode(measured.stdout, type=Measured)
    assert (measured.returncode, result.measurement.outcome) == (0, Outcome.OK)
    assert "starting a farm" not in measured.stderr

    checks = json.loads(farm.run("doctor", "--json").stdout)
    assert {"subject": "controller", "state": "ok"}.items() <= checks[
        [check["subject"] for check in checks].index("controller")
    ].items()

    parts = list(farm.parts().values())
    farm.process.send_signal(signal.SIGTERM)
    assert farm.process.wait(60) == 0
    assert not any(part.is_running() for part in parts)
    assert "no farm runs" in farm.run("devices", "list").stderr


def test_kill_9_leaves_no_process_and_the_next_up_takes_over(farm: Farm) -> None:
    farm.process.kill()
    farm.process.wait()
    again = Farm(farm.folder)
    try:
        again.wait_healthy()
        assert again.parts().keys() == PARTS
    finally:
        again.process.terminate()
        again.process.wait(60)
    wait_until(lambda: not belonging_to(farm.folder), 30)


def test_a_part_that_dies_comes_back_where_it_was(farm: Farm) -> None:
    address = json.loads((farm.state_dir / "farm.json").read_bytes())["address"]
    before = farm.parts()
    for part in before.values():
        part.kill()
    wait_until(
        lambda: (
            farm.parts().keys() == PARTS
            and not {each.pid for each in farm.parts().values()} & {p.pid for p in before.values()}
        ),
        30,
    )
    wait_until(lambda: '"idle"' in farm.run("devices", "list", "--json").stdout, 60)
    assert json.loads((farm.state_dir / "farm.json").read_bytes())["address"] == address


def test_a_second_up_says_who_is_there(farm: Farm) -> None:
    second = start(farm.state_dir)
    _, stderr = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"process {farm.process.pid} runs a farm there already" in stderr.splitlines()[-1]
    assert farm.parts().keys() == PARTS


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("up", "--state-dir", str(tmp_path / "state"), "--listen", address)
    assert result.returncode == 1
    assert f"cannot listen on {address}" in result.stderr.splitlines()[-1]
    assert not belonging_to(tmp_path)


def test_measure_starts_a_farm_for_itself_and_ends_it(tmp_path: Path, model: Path) -> None:
    state_dir = tmp_path / "state"
    result = run(
        *("measure", str(model), "--runtime", "onnxruntime", "--state-dir", str(state_dir)),
        *("--launches", "2", "--iterations", "20"),
    )
    assert result.returncode == 0, result.stderr
    assert "starting a farm on this computer for this command" in result.stderr
    assert "warm p90" in result.stdout
    assert not belonging_to(tmp_path)
    assert not (state_dir / "farm.json").exists()


def test_kill_9_of_a_command_with_its_own_farm_leaves_nothing(tmp_path: Path, model: Path) -> None:
    state_dir = tmp_path / "state"
    process = subprocess.Popen(
        command("measure", str(model), "--runtime", "onnxruntime", "--state-dir", str(state_dir)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until((state_dir / "farm.json").exists, 120)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not belonging_to(tmp_path), 30)


def test_a_file_that_is_no_model_is_one_line_and_no_success(farm: Farm, tmp_path: Path) -> None:
    broken = tmp_path / "evil\n\x1b[31m.onnx"
    broken.write_bytes(b"\x08\x07" + os.urandom(4000))
    result = farm.run("measure", str(broken), "--runtime", "onnxruntime", "--launches", "1")
    assert result.returncode != 0
    assert "\x1b" not in result.stderr + result.stdout
    assert result.stderr.splitlines()[-1].startswith("distillfarm: ")
    assert farm.parts().keys() == PARTS


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "distillfarm.cli", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=280, check=False
    )


def start(state_dir: Path) -> subprocess.Popen[str]:
    ports = ("--listen", "127.0.0.1:0", "--web-listen", "")
    return subprocess.Popen(
        command("up", "--state-dir", str(state_dir), *ports), stderr=subprocess.PIPE, text=True
    )


def belonging_to(folder: Path) -> list[psutil.Process]:
    """Processes that name the folder in their command."""
    return [
        process
        for process in psutil.process_iter()
        if any(str(folder) in part for part in command_of(process))
    ]


def command_of(process: psutil.Process) -> list[str]:
    """The command line of a living process; nothing of a dead one or of somebody else's."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def wait_until(condition: Callable[[], bool], patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            pytest.fail(f"it did not come to pass within {patience_s} s")
        time.sleep(0.2)
