"""Folders of unfinished work: who finds them again, and when they are gone."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distillfarm.compression.protocols import PassRefused
from distillfarm.compression.unfinished import KeepLimits, Unfinished
from distillfarm.domain.errors import InvalidRequest, Unavailable

FINAL = (PassRefused,)


def interrupted(kept: Unfinished, key: str, content: str = "half") -> None:
    with contextlib.suppress(Unavailable), kept.work(key, FINAL) as folder:
        assert folder is not None
        (folder / "training.pt").write_text(content)
        raise Unavailable("the worker stops")


def test_what_was_interrupted_is_found_again_and_gone_after_success(tmp_path: Path) -> None:
    interrupted(Unfinished(tmp_path), "apply-1")
    with Unfinished(tmp_path).work("apply-1", FINAL) as folder:
        assert folder is not None
        assert (folder / "training.pt").read_text() == "half"
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_final(tmp_path: Path) -> None:
    kept = Unfinished(tmp_path)
    interrupted(kept, "apply-1")
    with pytest.raises(PassRefused), kept.work("apply-1", FINAL):
        raise PassRefused("no such layer")
    assert not list(tmp_path.iterdir())


def test_one_at_a_time_holds_a_folder_and_its_death_frees_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from distillfarm.compression.unfinished import *\n"
        f"with Unfinished(Path({str(tmp_path)!r})).work('apply-1', ()) as folder:\n"
        " (folder / 'training.pt').write_text('two epochs')\n print('here', flush=True)\n"
        " sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"here\n"
    kept = Unfinished(tmp_path, KeepLimits(age_s=0.0))
    with kept.work("apply-1", FINAL) as folder:
        assert folder is None
    assert (tmp_path / "apply-1" / "training.pt").is_file()
    other.kill()
    other.communicate()
    with Unfinished(tmp_path).work("apply-1", FINAL) as folder:
        assert folder is not None
        assert (folder / "training.pt").read_text() == "two epochs"


def test_forgotten_folders_go_by_age_and_by_size_the_oldest_first(tmp_path: Path) -> None:
    kept = Unfinished(tmp_path)
    for age_days, key in ((9, "ancient"), (3, "old"), (2, "young"), (1, "fresh")):
        interrupted(kept, key, 1000 * "x")
        then_s = time.time() - age_days * 24 * 3600
        os.utime(tmp_path / key, (then_s, then_s))
    kept.clean()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fresh", "old", "young"]
    Unfinished(tmp_path, KeepLimits(total_bytes=2500)).clean()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fresh", "young"]


def test_a_key_is_no_path(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidRequest, match="names no folder"),
        Unfinished(tmp_path).work("../elsewhere", FINAL),
    ):
        pass
