"""``runtimes``: what is kept for phones, through the command line."""

from pathlib import Path

import made_elf
import made_runtimes
import msgspec
import pytest
from cli_lab import Run

from distillfarm.agent.phone_runtimes.records import Record


@pytest.fixture
def aar(tmp_path: Path) -> str:
    return str(made_runtimes.aar(tmp_path / "onnxruntime.aar"))


def records(run_cli: Run) -> list[Record]:
    return msgspec.json.decode(run_cli("runtimes", "list", "--json").stdout, type=list[Record])


def test_what_was_added_is_listed_with_its_origin(run_cli: Run, aar: str) -> None:
    added = run_cli("runtimes", "add", "onnxruntime", "bionic-aarch64", aar)
    assert added.exit_code == 0, added.output
    (record,) = records(run_cli)
    for text in ("onnxruntime", "1.29.0", "bionic-aarch64", record.files[0].sha256[:12], aar):
        assert text in added.stdout
        assert text in run_cli("runtimes", "list").stdout
    assert Path(".distillfarm/agent/runtimes/onnxruntime/bionic-aarch64/1.29.0").is_dir()


def test_a_fetch_works_offline_from_the_sites_index(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = made_runtimes.wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    fetched = run_cli("runtimes", "fetch", "onnxruntime", "glibc-aarch64")
    assert fetched.exit_code == 0, fetched.output
    assert "onnxruntime 1.29.0 for glibc-aarch64" in fetched.stdout
    assert "fetching Python package onnxruntime" in fetched.stderr
    (record,) = records(run_cli)
    assert record.origin.description == f"Python package onnxruntime 1.29.0 ({wheel.name})"
    again = run_cli("runtimes", "fetch", "onnxruntime", "glibc-aarch64")
    assert again.exit_code == 0
    assert records(run_cli) == [record]


def test_a_folder_may_be_shared(run_cli: Run, aar: str, tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    run_cli("runtimes", "add", "onnxruntime", "bionic-aarch64", aar, "--runtimes-dir", shared)
    assert records(run_cli) == []
    listed = run_cli("runtimes", "list", "--runtimes-dir", shared)
    assert "onnxruntime" in listed.stdout


def test_an_origin_may_be_told(run_cli: Run, aar: str) -> None:
    where = ("--origin", "onnxruntime-android 1.29.0 from Maven")
    run_cli("runtimes", "add", "onnxruntime", "bionic-aarch64", aar, *where)
    assert records(run_cli)[0].origin.description == where[1]


def test_an_empty_folder_says_how_to_begin(run_cli: Run) -> None:
    assert "distillfarm runtimes fetch" in run_cli("runtimes", "list").stdout
    assert run_cli("runtimes", "verify").exit_code == 0


def test_a_verification_names_each_spoiled_file(run_cli: Run, aar: str) -> None:
    run_cli("runtimes", "add", "onnxruntime", "bionic-aarch64", aar)
    assert "1 in " in run_cli("runtimes", "verify").stdout
    library = Path(
        ".distillfarm/agent/runtimes/onnxruntime/bionic-aarch64/1.29.0/libonnxruntime.so"
    )
    library.chmod(0o755)
    library.write_bytes(b"spoiled")
    checked = run_cli("runtimes", "verify")
    assert checked.exit_code == 1
    assert "libonnxruntime.so is not what was kept" in checked.stdout
    assert "distillfarm runtimes remove onnxruntime bionic-aarch64 --version 1.29.0" in (
        checked.stdout
    )


def test_removing_asks_which_where_several_are_there(run_cli: Run, tmp_path: Path) -> None:
    runner = tmp_path / "distillfarm-runner"
    runner.write_bytes(made_elf.program())
    place = ("distillfarm-runner", "bionic-aarch64")
    for version in ("0.1.0", "0.2.0"):
        run_cli("runtimes", "add", *place, str(runner), "--version", version)
    asked = run_cli("runtimes", "remove", *place)
    assert asked.exit_code == 1
    assert "there are 0.1.0, 0.2.0; name one by --version" in asked.output
    assert run_cli("runtimes", "remove", *place, "--version", "0.1.0").exit_code == 0
    assert run_cli("runtimes", "remove", *place).exit_code == 0
    gone = run_cli("runtimes", "remove", *place)
    assert gone.exit_code == 1
    assert "no distillfarm-runner bionic-aarch64" in gone.output


def test_a_mistake_is_told_in_one_line(run_cli: Run, aar: str, tmp_path: Path) -> None:
    foreign = tmp_path / "libonnxruntime.so"
    foreign.write_bytes(made_elf.library("OrtGetApiBase", machine=made_elf.X86_64))
    for arguments, says in (
        (("fetch", "tflite", "bionic-aarch64"), "nothing for phones is called 'tflite'"),
        (("fetch", "litert", "arm64"), "no flavour 'arm64'"),
        (("fetch", "litert", "bionic-aarch64"), "runtimes add litert bionic-aarch64 FILE"),
        (("add", "litert", "bionic-aarch64", aar), "holds no litert"),
        (("add", "onnxruntime", "bionic-aarch64", str(foreign)), "is for x86-64"),
        (("add", "onnxruntime", "bionic-aarch64", "nowhere.so"), "nowhere.so"),
    ):
        refused = run_cli("runtimes", *arguments)
        assert refused.exit_code == 1, arguments
        assert says in " ".join(refused.output.split())
        assert "defect" not in refused.output
