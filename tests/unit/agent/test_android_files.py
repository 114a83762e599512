"""Pushes to a phone: once, checked, by room and use, through stalls and refusals."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from adbutils import AdbDevice
from python_adbd import Daemon

from distillfarm.agent.drivers.android import faults, files, shell, transfer
from distillfarm.agent.drivers.android.files import Cache, Entry
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.domain.errors import DeviceTimeout, DigestMismatch, InvalidRequest, NoCapacity

OLD, MIDDLE, NEW = (Entry(letter * 64, used_s, 10) for used_s, letter in enumerate("abc"))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "the cache"), reserve_bytes=0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(300_000))
    return path


@pytest.mark.parametrize(
    ("size_bytes", "free_bytes", "limit_bytes", "dropped"),
    [
        (5, 100, 100, ()),
        (5, 0, 100, (OLD,)),
        (5, 100, 30, (OLD,)),
        (15, 0, 100, (OLD, MIDDLE)),
        (30, 100, 30, (OLD, MIDDLE, NEW)),
        (31, 100, 30, None),
        (31, 0, 100, None),
    ],
)
def test_what_was_used_longest_ago_goes_first(
    size_bytes: int, free_bytes: int, limit_bytes: int, dropped: tuple[Entry, ...] | None
) -> None:
    assert files.evictions([NEW, OLD, MIDDLE], size_bytes, free_bytes, limit_bytes) == dropped


def test_of_many_files_only_the_missing_are_sent_and_one_question_finds_them(
    phone: AdbDevice, cache: Cache, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    there = cache.push(phone, model, "model.onnx")
    sent: list[Path] = []
    send = transfer.send

    def sending(device: AdbDevice, source: Path, path: str, stall_s: float) -> None:
        sent.append(source)
        send(device, source, path, stall_s)

    monkeypatch.setattr(transfer, "send", sending)
    wanted = [(other, "other"), (model, "model.onnx")]
    paths = cache.push_all(phone, wanted)
    assert sent == [other]
    assert paths[1] == there
    assert Path(paths[0]).read_bytes() == b"other"
    asked = counted(monkeypatch)
    assert cache.push_all(phone, wanted) == paths
    assert len(asked) == 1


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that go to the phone from now on."""
    asked: list[str] = []
    run = shell.run

    def running(device: AdbDevice, command: str, *rest: Any) -> shell.ShellResult:
        asked.append(command)
        return run(device, command, *rest)

    monkeypatch.setattr(shell, "run", running)
    return asked


def test_a_file_arrives_under_its_digest_and_is_sent_once(
    phone: AdbDevice, daemon: Daemon, cache: Cache, model: Path
) -> None:
    path = Path(cache.push(phone, model, "it's a model.onnx"))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert path == Path(cache.folder) / digest / "it's a model.onnx"
    assert path.read_bytes() == model.read_bytes()
    daemon.faults.send_error = "nothing more is taken"
    assert cache.push(phone, model, "it's a model.onnx") == str(path)
    assert [entry.digest for entry in cache.entries(phone)] == [digest]
    assert os.listdir(cache.folder) == [digest]  # noqa: PTH208


def test_other_bytes_than_were_sent_are_never_kept(
    phone: AdbDevice, daemon: Daemon, cache: Cache, model: Path
) -> None:
    daemon.faults.spoils = True
    with pytest.raises(DigestMismatch, match="send again"):
        cache.push(phone, model, "model.onnx")
    assert list(Path(cache.folder).iterdir()) == []


def test_a_stall_ends_a_push(phone: AdbDevice, daemon: Daemon, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(20_000_000))
    daemon.faults.deaf_after_bytes = 100_000
    began_s = time.monotonic()
    with pytest.raises(DeviceTimeout, match="no byte of large"):
        transfer.send(phone, large, str(tmp_path / "never"), stall_s=0.5)
    assert time.monotonic() - began_s < 5
    assert not (tmp_path / "never").exists()


def test_a_rest_of_a_broken_push_is_cleared(phone: AdbDevice, cache: Cache, model: Path) -> None:
    rest = Path(cache.folder) / f"{'0' * 64}.1234abcd.part"
    rest.parent.mkdir()
    rest.write_bytes(b"rest")
    cache.push(phone, model, "model.onnx")
    assert not rest.exists()


def test_the_cache_keeps_to_its_limit(phone: AdbDevice, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"), limit_bytes=700_000, reserve_bytes=0)
    paths = []
    for number in range(3):
        source = tmp_path / f"{number}"
        source.write_bytes(os.urandom(300_000))
        paths.append(Path(cache.push(phone, source, "model")))
        # Uses far apart, whatever the file system's clock resolves.
        os.utime(paths[-1].parent, (1000 + number, 1000 + number))
    assert [path.exists() for path in paths] == [False, True, True]


def test_a_full_disk_is_told_before_anything_is_sent(
    phone: AdbDevice, cache: Cache, model: Path
) -> None:
    with pytest.raises(NoCapacity, match=r"no room for 0\.3 MiB"):
        Cache(cache.folder, reserve_bytes=2**60).push(phone, model, "model.onnx")
    assert list(Path(cache.folder).iterdir()) == []


def test_a_disk_that_fills_in_between_is_told_too(
    phone: AdbDevice, daemon: Daemon, cache: Cache, model: Path
) -> None:
    daemon.faults.send_error = "write failed: No space left on device"
    with pytest.raises(NoCapacity, match="No space left"):
        cache.push(phone, model, "model.onnx")


def test_a_folder_that_is_not_ours_is_refused(
    phone: AdbDevice, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(PhoneFault) as caught:
        transfer.send(phone, model, str(tmp_path / "no such folder" / "model"))
    assert caught.value.fault is faults.REFUSED
    with pytest.raises(PhoneFault) as caught:
        Cache("/proc/none").push(phone, model, "model")
    assert caught.value.fault is faults.REFUSED


@pytest.mark.parametrize("name", ["../model", "a/b", "a,b", "", ".."])
def test_only_a_plain_name_is_taken(phone: AdbDevice, cache: Cache, model: Path, name: str) -> None:
    with pytest.raises(InvalidRequest):
        cache.push(phone, model, name)
