"""The folders and the wheel hold what they should: one top-level name, data in, tests out."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FOLDERS = ("protos", "device_profiles", "compression", "agent", "controller")


def test_no_path_root_is_a_package() -> None:
    """Python 3.14 has a ``compression`` of its own, which gzip imports."""
    forbidden = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder / "__init__.py", ROOT / folder / "distillfarm/__init__.py")
        if path.exists()
    ]
    assert forbidden == []


def test_gzip_works_from_the_checkout() -> None:
    subprocess.run([sys.executable, "-c", "import gzip, bz2, lzma"], cwd=ROOT, check=True)


def test_no_test_folder_is_a_package() -> None:
    found = (ROOT / "tests").rglob("__init__.py")
    # Stand-ins are programs of their own that tests use.
    assert [each for each in found if "standins" not in each.parts] == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_one_top_level_name_and_no_tests(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"distillfarm"}
    parts = {part for name in names for part in Path(name).parts}
    assert not parts & {"tests", "bench", "docs", "__pycache__", "conftest.py"}


def test_the_wheel_holds_every_source_and_data_file_once(wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    expected = {
        path.partition("/")[2]
        for path in tracked
        if path.partition("/")[2].startswith("distillfarm/") and (ROOT / path).exists()
    }
    names = wheel.namelist()
    assert expected - set(names) == set()
    assert len(names) == len(set(names))
    for suffix in (".yaml", ".html", ".proto", ".pyi"):
        assert any(name.endswith(suffix) for name in names), suffix


def _required(wheel: zipfile.ZipFile, extra: str) -> set[str]:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    message = email.message_from_bytes(wheel.read(metadata))
    requirements = map(Requirement, message.get_all("Requires-Dist", []))
    return {
        each.name
        for each in requirements
        if each.marker is None or each.marker.evaluate({"extra": extra})
    }


def test_an_agent_needs_no_framework(wheel: zipfile.ZipFile) -> None:
    heavy = {"torch", "tensorflow", "onnx", "coremltools", "jax", "torchao", "dbos", "sqlmodel"}
    assert _required(wheel, "agent") & heavy == set()
    assert {"onnxruntime", "ai-edge-litert", "grpcio"} <= _required(wheel, "agent")


def test_only_the_ios_extra_asks_for_gpl_code(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    extras = email.message_from_bytes(wheel.read(metadata)).get_all("Provides-Extra", [])
    assert {extra for extra in extras if "pymobiledevice3" in _required(wheel, extra)} == {"ios"}


def test_the_licence_travels_with_the_wheel(wheel: zipfile.ZipFile) -> None:
    licences = [name for name in wheel.namelist() if "/licenses/" in name]
    assert {Path(name).name for name in licences} == {"LICENSE", "NOTICE"}
