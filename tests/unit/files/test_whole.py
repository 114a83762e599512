"""A file that others read while it is written."""

import stat
import threading
from pathlib import Path

import pytest

from distillfarm.files import whole


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "farm" / "address"
    contents = {letter * 100_000 for letter in (b"a", b"b")}
    whole.write(path, b"a" * 100_000)
    seen: set[bytes] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        for content in contents:
            whole.write(path, content)
    over.set()
    reader.join()
    assert seen
    assert seen <= contents


def test_a_file_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        whole.write(tmp_path / "taken", b"text")
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    whole.write(tmp_path / "key", b"secret", whole.PRIVATE)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_private_file_replaces_one_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    whole.write(path, b"secret", whole.PRIVATE)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"secret", 0o600)
