import importlib
import subprocess
import sys

import pytest
from cli_lab import Lab, Run

from distillfarm.cli.failures import explain, extra
from distillfarm.domain.errors import MissingExtra, NotFound


@pytest.mark.parametrize(
    "arguments",
    [
        ("devices", "list", "--no-such-option"),
        ("no-such-command",),
        ("measure",),
        ("measure", "model.onnx", "--runtime", "abacus"),
        ("measure", "nowhere.onnx", "--runtime", "onnxruntime"),
        ("devices", "list", "--device", "colour=red"),
        ("devices", "list", "--controller", "127.0.0.1:9"),
        ("study", "show", "study-7"),
    ],
)
def test_every_error_is_one_line_on_stderr_and_code_1(
    lab: Lab, run_cli: Run, arguments: tuple[str, ...]
) -> None:
    result = run_cli(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("distillfarm: ")
    assert result.stderr.count("\n") == 1


def test_usage_errors_say_where_help_is(run_cli: Run) -> None:
    assert "Try: distillfarm devices list --help" in run_cli("devices", "list", "--nope").stderr


def test_debug_shows_the_trace_wherever_it_stands(lab: Lab, run_cli: Run) -> None:
    assert "Traceback" not in run_cli("devices", "show", "nowhere").stderr
    for arguments in (
        ("--debug", "devices", "show", "nowhere"),
        ("devices", "show", "nowhere", "--debug"),
    ):
        assert "Traceback" in run_cli(*arguments).stderr


def test_a_defect_is_named_as_one(lab: Lab, run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: object, selector: str) -> None:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr("distillfarm.client.Client.devices", broken)
    result = run_cli("devices", "list")
    assert result.exit_code == 1
    assert result.stderr == (
        "distillfarm: defect: ZeroDivisionError: oh no; add --debug to see where\n"
    )


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'distillfarm\[agent\]'"), extra("agent"):
        importlib.import_module("no_such_package_anywhere")


def test_a_missing_module_of_our_own_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError), extra("agent"):
        importlib.import_module("distillfarm.no_such_module")


def test_os_errors_name_the_file() -> None:
    error = PermissionError(13, "Permission denied", "/etc/shadow")
    assert explain(error) == "/etc/shadow: Permission denied"
    assert explain(NotFound("no device x")) == "no device x"


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'grpc', 'numpy', 'torch', 'pydantic', 'scipy', 'sqlmodel', 'onnxruntime', 'dbos'}"
    code = (
        "import sys; from distillfarm.cli.main import app\n"
        "try: app(['--help'], prog_name='distillfarm')\n"
        f"except SystemExit: print(sorted({heavy} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "Usage" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_closed_pipe_is_no_error_message() -> None:
    command = f"{sys.executable} -m distillfarm.cli --help | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_version(run_cli: Run) -> None:
    result = run_cli("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("distillfarm 0.")
