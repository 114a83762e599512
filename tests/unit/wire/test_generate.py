"""Generated code that is stale, and messages that an older peer misunderstands, are caught."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from distillfarm.domain.errors import InvalidRequest
from distillfarm.wire import generate

ROOT = Path(__file__).parents[3]


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    """A copy of the messages with their generated code."""
    shutil.copytree(ROOT / "protos" / generate.PACKAGE, tmp_path / generate.PACKAGE)
    return tmp_path


def change(protos: Path, file: str, old: str, new: str) -> None:
    path = protos / generate.PACKAGE / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_what_is_committed_is_what_the_compiler_writes() -> None:
    assert generate.problems(ROOT / "protos") == []
    assert generate.main(["--check"]) == 0


def test_only_services_have_service_modules() -> None:
    names = [path.name for path in (ROOT / "protos" / generate.PACKAGE).glob("*_grpc.py")]
    assert names == ["services_pb2_grpc.py"]


def test_a_new_field_without_new_code_is_caught(protos: Path) -> None:
    change(protos, "job.proto", "int64 token = 4;", "int64 token = 4;\n  string colour = 99;")
    found = generate.problems(protos)
    assert {line.split()[0] for line in found} == {
        "distillfarm/wire/v1/job_pb2.py",
        "distillfarm/wire/v1/job_pb2.pyi",
    }
    generate.generate(protos, protos)
    assert generate.problems(protos) == []


def test_edited_and_left_over_code_is_caught(protos: Path) -> None:
    change(protos, "job_pb2.pyi", "class Lease(", "class Leash(")
    (protos / generate.PACKAGE / "gone_pb2.py").write_text("")
    found = generate.problems(protos)
    assert [line.split()[0] for line in found] == [
        "distillfarm/wire/v1/gone_pb2.py",
        "distillfarm/wire/v1/job_pb2.pyi",
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("job.proto", "int64 token = 4;", "", "Lease.token was"),
        ("job.proto", "int64 token = 4;", "int64 token = 9;", "TYPE_INT64 = 9"),
        ("job.proto", "int64 token = 4;", "string token = 4;", "TYPE_STRING = 4"),
        ("job.proto", "int64 token = 4;", "repeated int64 token = 4;", "LABEL_REPEATED"),
        ("job.proto", "int64 token = 4;", "optional int64 token = 4;", "with presence"),
        ("job.proto", "int64 token = 4;", "int64 fence = 4;", "Lease.token was"),
        ("measurement.proto", "OUTCOME_OK = 1;", "OUTCOME_FINE = 1;", "OUTCOME_OK was 1"),
        (
            "services.proto",
            "rpc GetJob(GetJobRequest)",
            "rpc FetchJob(GetJobRequest)",
            "Jobs/GetJob",
        ),
        (
            "services.proto",
            "rpc GetJob(GetJobRequest) returns (Job)",
            "rpc GetJob(GetJobRequest) returns (stream Job)",
            "Jobs/GetJob",
        ),
    ],
)
def test_a_change_that_an_older_peer_misunderstands_is_caught(
    protos: Path, file: str, old: str, new: str, complaint: str
) -> None:
    change(protos, file, old, new)
    generate.generate(protos, protos)
    (problem,) = generate.problems(protos)
    assert complaint.split(" = ", maxsplit=1)[0].removeprefix("int64") in problem
    assert "in the last release" in problem


def test_a_file_that_does_not_compile_is_named(
    protos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(protos, "job.proto", "int64 token = 4;", "int65 token = 4;")
    with pytest.raises(InvalidRequest, match="protoc refuses"):
        generate.problems(protos)
    assert "int65" in capfd.readouterr().err


def test_the_command_fails_on_a_problem_and_mends_it(
    protos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run: Callable[[list[str]], int] = generate.main
    monkeypatch.setattr(generate, "_PROTOS", protos)
    change(protos, "job.proto", "int64 token = 4;", "int64 token = 9;")
    assert run(["--check"]) == 1
    assert "job_pb2.py is stale" in capsys.readouterr().err
    assert run([]) == 0
    assert run(["--check"]) == 1
    assert "Lease.token was" in capsys.readouterr().err
    assert run(["--release"]) == 0
    assert run(["--check"]) == 0
