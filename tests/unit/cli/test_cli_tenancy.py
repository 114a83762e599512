import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distillfarm.cli.tenancy import (
    Farm,
    announce,
    ownership,
    running_farm,
    starting,
    unused,
    usage,
)
from distillfarm.domain.errors import AlreadyExists

OWN = """
import subprocess, sys, time
from pathlib import Path
from distillfarm.cli.tenancy import ownership
with ownership(Path(sys.argv[1])) as descriptor:
    child = subprocess.Popen(["sleep", sys.argv[2]], pass_fds=(descriptor,))
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns the folder, with a child that outlives it for a second."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWN, str(tmp_path), "1"], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_an_announced_farm_is_found_until_its_owner_ends(tmp_path: Path) -> None:
    assert running_farm(tmp_path) is None
    with ownership(tmp_path):
        assert starting(tmp_path)
        announce(tmp_path, Farm(os.getpid(), "127.0.0.1:1"))
        assert not starting(tmp_path)
        assert running_farm(tmp_path) == Farm(os.getpid(), "127.0.0.1:1")
    assert running_farm(tmp_path) is None
    assert not starting(tmp_path)


def test_a_second_owner_hears_who_is_first(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    announce(tmp_path, Farm(owner.pid, "127.0.0.1:7543"))
    message = rf"process {owner.pid} .* at 127.0.0.1:7543"
    with pytest.raises(AlreadyExists, match=message), ownership(tmp_path):
        pytest.fail("two owners")


def test_children_of_a_killed_owner_are_waited_for(
    tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    announce(tmp_path, Farm(owner.pid, "127.0.0.1:7543"))
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert running_farm(tmp_path) is None
    began_s = time.monotonic()
    with ownership(tmp_path):
        assert 0.2 < time.monotonic() - began_s < 10


def test_a_farm_is_in_use_while_a_command_says_so(tmp_path: Path) -> None:
    assert unused(tmp_path)
    with usage(tmp_path):
        assert not unused(tmp_path)
    assert unused(tmp_path)


def test_using_a_folder_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with usage(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


def test_a_torn_announcement_is_no_farm(tmp_path: Path) -> None:
    with ownership(tmp_path):
        (tmp_path / "farm.json").write_text('{"pid": 1')
        assert running_farm(tmp_path) is None
