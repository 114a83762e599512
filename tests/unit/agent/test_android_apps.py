"""What a phone is given to run, and a command of the site's that brings one back."""

from pathlib import Path

import pytest

from distillfarm.agent.drivers.android.apps import stored_apps
from distillfarm.agent.drivers.android.hub import reviver
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.domain.errors import InvalidRequest, MissingExtra


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    apps = stored_apps(RuntimeStore(tmp_path))
    with pytest.raises(MissingExtra, match="distillfarm runtimes fetch onnxruntime bionic-aarch64"):
        apps("launch", ["model=m", "runtime=onnxruntime"], "bionic-aarch64")
    with pytest.raises(MissingExtra, match="benchmark_model"):
        apps("benchmark_model", [], "bionic-aarch64")


def test_a_phone_of_another_kind_gets_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="armv7"):
        stored_apps(RuntimeStore(tmp_path))("launch", ["runtime=litert"], "bionic-armv7l")


def test_an_unknown_program_or_an_order_without_a_runtime_is_refused(tmp_path: Path) -> None:
    apps = stored_apps(RuntimeStore(tmp_path))
    with pytest.raises(InvalidRequest, match="no program 'sh'"):
        apps("sh", [], "bionic-aarch64")
    with pytest.raises(InvalidRequest, match="runtime="):
        apps("launch", ["model=m"], "bionic-aarch64")


def test_the_reviving_command_is_told_which_phone(tmp_path: Path) -> None:
    assert reviver("", "one") is None
    revive = reviver(f"cp /dev/null '{tmp_path}/{{serial}} is back'", "one two")
    assert revive is not None
    revive()
    assert (tmp_path / "one two is back").exists()


def test_a_reviving_command_that_fails_changes_nothing() -> None:
    for command in ("false", "/no/such/program {serial}"):
        revive = reviver(command, "one")
        assert revive is not None
        revive()
