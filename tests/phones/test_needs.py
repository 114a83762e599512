"""Where no phone can be had, it is said what is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from android_phone import IDENTITIES, NoPhone, Phone, emulation, needs, root, slots
from android_phone.root import Recipe, Root

STANDINS = Path(__file__).parents[1] / "standins"


@pytest.fixture
def able() -> None:
    """Skips where phones cannot be had at all."""
    try:
        needs.check()
    except NoPhone as error:
        pytest.skip(str(error))


def test_a_missing_program_is_named_with_its_package(
    able: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoPhone, match="no adb here: install the Debian package adb"):
        needs.check()


def test_without_root_it_is_root_that_is_missing(able: None) -> None:
    # Who started the tests may keep Python in a folder of his own: the child gives up root itself.
    code = (
        "import os; from android_phone import NoPhone, needs\n"
        "os.setuid(65534)\n"
        "try: needs.check()\n"
        "except NoPhone as error: print(error)"
    )
    told = subprocess.check_output(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(STANDINS)}, text=True
    )
    assert told.startswith("no root here")


def test_a_build_that_fails_tells_why_and_leaves_nothing(able: None, tmp_path: Path) -> None:
    recipe = Recipe(packages=("no-such-package-at-all",))
    with pytest.raises(NoPhone, match="Unable to locate package no-such-package-at-all"):
        root.ready_root(tmp_path, recipe)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_phone_that_does_not_come_up_tells_why_and_leaves_nothing(
    able: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "enable", lambda _: None)
    broken = Root(tmp_path / "absent", tmp_path / "qemu")
    phone = Phone("broken", IDENTITIES["pixel_8_pro"], root=broken)
    with pytest.raises(NoPhone, match="No such file or directory"):
        phone.start()
    phone.stop()
    with pytest.raises(NoPhone, match="does not run: start it"):
        _ = phone.address


def test_a_number_is_one_phones_at_a_time(able: None) -> None:
    slot = slots.claim()
    try:
        with pytest.raises(NoPhone, match=f"the number {slot.index} is taken"):
            slots.claim(slot.index)
        assert slots.claim(None).index != slot.index
    finally:
        slot.give_back()
    assert not slot.folder.exists()
