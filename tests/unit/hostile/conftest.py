"""What the tests with hostile files share: one way to look at a file, and to see it did no harm."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hostile_tasks import Look

from distillfarm.compression.inspection import LIMITS, inspect
from distillfarm.domain.errors import FarmError
from distillfarm.sandbox.limits import Limits

EXECUTED = 66


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own as the current one, temporary files included."""
    for name in ("files", "scratch", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return tmp_path


@pytest.fixture
def look(workplace: Path) -> Look:
    """Inspect a file as the command line does; what it raised, None if it was found sound.

    Afterwards nothing was written, nothing was executed and nothing is left running.
    """

    def look_at(path: Path, factory: str = "", limits: Limits = LIMITS) -> FarmError | None:
        before = _listing(workplace)
        children = {each.pid for each in psutil.Process().children(recursive=True)}
        error = None
        try:
            inspect(path, factory=factory, limits=limits)
        except FarmError as raised:
            error = raised
        assert _listing(workplace) == before
        assert {each.pid for each in psutil.Process().children(recursive=True)} <= children
        if error is not None:
            text = str(error)
            assert 0 < len(text) < 1200
            assert not any(unicodedata.category(each) == "Cc" for each in text), text
            assert f"code {EXECUTED}" not in text
        return error

    return look_at


@pytest.fixture
def payload(workplace: Path) -> str:
    """Python that leaves marks inside and outside the sandbox and ends the process tellingly.

    Writes outside are refused by the kernel where it can; the exit code shows the execution
    everywhere.
    """
    marks = [str(workplace / "executed"), "executed"]
    return (
        f"import os\nfor mark in {marks!r}:\n    try: open(mark, 'w').close()\n"
        f"    except OSError: pass\nos._exit({EXECUTED})"
    )


@pytest.fixture
def bomb(payload: str) -> object:
    """An object whose unpickling runs the payload."""
    return Bomb(payload)


class Bomb:
    """Pickles as a call of ``exec``."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exec, (self.code,)


def _listing(folder: Path) -> list[tuple[str, int]]:
    found = []
    for root, _, names in os.walk(folder):
        found += [(f"{root}/{name}", (Path(root) / name).lstat().st_size) for name in names]
    return sorted(found)
