"""Packages come through the real pip, without a network, and through a stand-in of npm."""

import os
from collections.abc import Callable
from pathlib import Path

import made_runtimes
import pytest

from distillfarm.agent.phone_runtimes import fetching
from distillfarm.agent.phone_runtimes.catalog import ITEMS, ByHand, Flavour, build
from distillfarm.agent.phone_runtimes.fetching import Fetched, diagnosis
from distillfarm.domain.errors import InvalidRequest, MissingExtra, NotFound, Unavailable

NPM_MISSING = """\
npm error code ETARGET
npm error notarget No matching version found for com.github.asus4.onnxruntime@9.9.9.
"""
NPM_NO_NETWORK = """\
npm error code ECONNREFUSED
npm error errno ECONNREFUSED
npm error FetchError: request to http://index.example/onnxruntime failed, reason:
npm error If you are behind a proxy, please make sure that the 'proxy' config is set properly.
"""
PIP_MISSING = """\
ERROR: Could not find a version that satisfies the requirement onnxruntime==9.9 (from versions: 1.3)
ERROR: No matching distribution found for onnxruntime==9.9
"""
PIP_NO_NETWORK = """\
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by \
'NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused')'
ERROR: Could not find a version that satisfies the requirement onnxruntime (from versions: none)
ERROR: No matching distribution found for onnxruntime
"""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program of the given lines in npm's place."""

    def replace(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    return replace


def fetched(folder: Path, name: str, flavour: str, version: str = "") -> Fetched:
    return fetching.fetch(build(name, flavour), version, folder / "fetched", list[str]().append)


def test_the_newest_wheel_for_another_machine_comes_from_the_sites_index(
    tmp_path: Path, index: Path
) -> None:
    for version in ("1.28.0", "1.29.0"):
        made_runtimes.wheel(index, version)
    found = fetched(tmp_path, "onnxruntime", "glibc-aarch64")
    assert found.path.read_bytes() == (index / found.path.name).read_bytes()
    assert found.origin == f"Python package onnxruntime 1.29.0 ({found.path.name})"
    assert "aarch64" in found.path.name


def test_a_version_is_taken_by_its_name(tmp_path: Path, index: Path) -> None:
    for version in ("1.28.0", "1.29.0"):
        made_runtimes.wheel(index, version)
    found = fetched(tmp_path, "onnxruntime", "glibc-aarch64", "1.28.0")
    assert "onnxruntime 1.28.0" in found.origin


def test_a_version_that_is_not_there_is_told_with_what_to_do(tmp_path: Path, index: Path) -> None:
    made_runtimes.wheel(index)
    with pytest.raises(NotFound, match=r"onnxruntime==9\.9; name another --version"):
        fetched(tmp_path, "onnxruntime", "glibc-aarch64", "9.9")


def test_a_wheel_for_another_machine_is_not_taken(tmp_path: Path, index: Path) -> None:
    made_runtimes.wheel(index)
    with pytest.raises(NotFound):
        fetched(tmp_path, "onnxruntime", "glibc-x86_64")


def test_without_pip_its_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"-m ensurepip.*pip download.*runtimes add"):
        fetched(tmp_path, "onnxruntime", "glibc-aarch64")


def test_npm_packs_what_only_npm_has(tmp_path: Path, npm: Callable[[str], None]) -> None:
    npm(f'echo "$@" > {tmp_path}/asked; echo packed > com.github.asus4.onnxruntime-0.4.9.tgz')
    found = fetched(tmp_path, "onnxruntime", "bionic-aarch64", "0.4.9")
    assert found.path.read_text() == "packed\n"
    name = "com.github.asus4.onnxruntime"
    assert found.origin == f"npm package {name} 0.4.9 ({name}-0.4.9.tgz)"
    assert (tmp_path / "asked").read_text().startswith(f"pack {name}@0.4.9 ")


def test_without_a_network_the_way_round_it_is_told(
    tmp_path: Path, npm: Callable[[str], None]
) -> None:
    npm("echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(
        Unavailable, match=r"\(ENOTFOUND\).*`npm pack com.*`distillfarm runtimes add"
    ):
        fetched(tmp_path, "onnxruntime", "bionic-aarch64")


def test_a_client_that_leaves_nothing_is_noticed(
    tmp_path: Path, npm: Callable[[str], None]
) -> None:
    npm("exit 0")
    with pytest.raises(Unavailable, match="0 files"):
        fetched(tmp_path, "onnxruntime", "bionic-aarch64")


def test_without_npm_its_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="npm is not installed"):
        fetched(tmp_path, "onnxruntime", "bionic-aarch64")


def test_what_no_package_brings_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"litert:litert from Google.*runtimes add litert"):
        fetched(tmp_path, "litert", "bionic-aarch64")
    with pytest.raises(InvalidRequest, match="make runner FLAVOUR=bionic-aarch64"):
        fetched(tmp_path, "distillfarm-runner", "bionic-aarch64")


@pytest.mark.parametrize(
    ("words", "absent", "reason"),
    [
        (PIP_MISSING, True, "No matching distribution found for onnxruntime==9.9"),
        (PIP_NO_NETWORK, False, "the package index does not answer (Connection refused)"),
        (
            NPM_MISSING,
            True,
            "notarget No matching version found for com.github.asus4.onnxruntime@9.9.9.",
        ),
        (NPM_NO_NETWORK, False, "the package index does not answer (ECONNREFUSED)"),
        ("ERROR: the disk is full\n", False, "the disk is full"),
        ("Killed\n", False, "Killed"),
        ("", False, "no word of why"),
    ],
)
def test_a_missing_version_is_told_from_a_missing_network(
    words: str, absent: bool, reason: str
) -> None:
    assert diagnosis(words) == (absent, reason)


def test_every_item_can_be_got_somehow_for_every_flavour() -> None:
    for item in ITEMS:
        for flavour in Flavour:
            source = build(item.name, flavour).source
            assert source.how if isinstance(source, ByHand) else source.name


@pytest.mark.parametrize(
    ("name", "flavour", "says"),
    [
        ("onxruntime", "glibc-aarch64", "there are onnxruntime"),
        ("litert", "arm64", "there are bionic"),
    ],
)
def test_an_unknown_name_or_flavour_is_told_what_there_is(
    name: str, flavour: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        build(name, flavour)
