"""A run that must be complete fails by name on every skip but a phone's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="by mark")
def test_mark():
    pass

def test_call():
    pytest.skip("by call")

@pytest.mark.xfail(strict=True)
def test_known_bad():
    raise ValueError

@pytest.mark.hardware
def test_phone():
    pytest.skip("no phone here")
"""


@pytest.mark.parametrize(
    ("complete", "summary"),
    [
        ("0", "1 passed, 4 skipped, 1 xfailed"),
        ("1", "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors"),
    ],
)
def test_a_skip_fails_where_the_run_must_be_complete(
    tmp_path: Path, complete: str, summary: str
) -> None:
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = hardware\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_file.py").write_text("import pytest\npytest.importorskip('no_such_thing')\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--continue-on-collection-errors", "-rs"],
        cwd=tmp_path,
        env=os.environ | {"DISTILLFARM_NO_SKIPS": complete},
        capture_output=True,
        text=True,
        check=False,
    )
    assert summary in run.stdout
    assert run.returncode == int(complete)
    if complete == "1":
        for named in ("test_mark was skipped", "test_call was skipped", "test_file.py was skipped"):
            assert named in run.stdout
