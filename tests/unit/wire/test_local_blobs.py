"""Blobs in a folder: what is complete is right, whatever happened on the way."""

import contextlib
import errno
import multiprocessing
import os
import signal
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillfarm.domain.errors import (
    DigestMismatch,
    InvalidRequest,
    NoCapacity,
    NotFound,
    WrongState,
)
from distillfarm.domain.ids import digest_bytes
from distillfarm.wire.blobs import LocalBlobs, local

DATA = bytes(range(256)) * 400
DIGEST = digest_bytes(DATA)
HOSTILE = [
    "",
    "sha256:",
    "sha256:../../../../etc/passwd",
    "sha256:" + "../" * 21 + "a",
    "sha256:" + "A" * 64,
    "sha256:" + "0" * 63,
    "sha256:" + "0" * 64 + "\n",
    "sha256:" + "*" * 64,
    "sha512:" + "0" * 64,
    "/etc/passwd",
    "0" * 64,
]


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def files(tmp_path: Path) -> list[Path]:
    """Every file of the store but its lock."""
    return sorted(
        path for path in (tmp_path / "blobs").rglob("*") if path.is_file() and path.name != "lock"
    )


def test_a_blob_is_kept_under_its_digest_and_read_only(blobs: LocalBlobs) -> None:
    assert blobs.put_bytes(DATA) == DIGEST
    assert blobs.has(DIGEST)
    assert blobs.size(DIGEST) == len(DATA)
    assert blobs.stat(DIGEST) == (len(DATA), len(DATA))
    assert blobs.path(DIGEST).read_bytes() == DATA
    assert stat.S_IMODE(blobs.path(DIGEST).stat().st_mode) == 0o444


def test_the_same_bytes_are_kept_once(blobs: LocalBlobs, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(DATA)
    assert {blobs.put_bytes(DATA), blobs.put_file(source), blobs.put_bytes(DATA)} == {DIGEST}
    assert files(tmp_path) == [blobs.path(DIGEST)]


def test_an_empty_blob_is_a_blob(blobs: LocalBlobs, tmp_path: Path) -> None:
    source = tmp_path / "empty"
    source.touch()
    digest = blobs.put_file(source)
    assert digest == digest_bytes(b"") == blobs.put_bytes(b"")
    assert blobs.path(digest).read_bytes() == b""


def test_a_moved_file_leaves_its_place(blobs: LocalBlobs, tmp_path: Path) -> None:
    kept, moved = tmp_path / "kept", tmp_path / "moved"
    kept.write_bytes(DATA)
    moved.write_bytes(DATA[1:])
    blobs.put_file(kept)
    digest = blobs.put_file(moved, move=True)
    assert kept.exists()
    assert not moved.exists()
    assert blobs.path(digest).read_bytes() == DATA[1:]


def test_a_moved_link_leaves_its_target(blobs: LocalBlobs, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(DATA)
    link.symlink_to(target)
    assert blobs.put_file(link, move=True) == DIGEST
    assert not link.is_symlink()
    assert target.read_bytes() == DATA


def test_what_is_no_readable_file_is_named(blobs: LocalBlobs, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(InvalidRequest, match="is no regular file"):
            blobs.put_file(path)
    with pytest.raises(InvalidRequest, match="missing cannot be read: No such file"):
        blobs.put_file(tmp_path / "missing")


def test_an_unknown_blob_is_not_found(blobs: LocalBlobs) -> None:
    assert not blobs.has(DIGEST)
    assert blobs.stat(DIGEST) == (0, 0)
    with pytest.raises(NotFound, match=DIGEST):
        blobs.size(DIGEST)
    with pytest.raises(NotFound, match=DIGEST):
        blobs.path(DIGEST)


@pytest.mark.parametrize("digest", HOSTILE)
def test_a_hostile_digest_touches_no_file(blobs: LocalBlobs, tmp_path: Path, digest: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    for call in (blobs.has, blobs.size, blobs.path, blobs.stat):
        with pytest.raises(InvalidRequest, match="is no digest"):
            call(digest)
    with pytest.raises(InvalidRequest, match="is no digest"):
        blobs.append(digest, 3, 0, b"abc")
    assert sorted(tmp_path.rglob("*")) == before


@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=6))
@settings(max_examples=25, deadline=None)
def test_a_blob_in_any_pieces_completes(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    blobs = LocalBlobs(tmp_path_factory.mktemp("blobs"))
    edges = [0, *sorted(cuts), len(DATA)]
    for start, end in pairwise(edges):
        blobs.append(DIGEST, len(DATA), start, DATA[start:end])
    assert blobs.path(DIGEST).read_bytes() == DATA


def test_a_torn_upload_goes_on_where_it_stopped(blobs: LocalBlobs, tmp_path: Path) -> None:
    blobs.append(DIGEST, len(DATA), 0, DATA[:1000])
    again = LocalBlobs(tmp_path / "blobs")
    assert not again.has(DIGEST)
    assert again.stat(DIGEST) == (len(DATA), 1000)
    again.append(DIGEST, len(DATA), 1000, DATA[1000:])
    assert again.path(DIGEST).read_bytes() == DATA


def test_bytes_that_came_already_are_skipped(blobs: LocalBlobs) -> None:
    blobs.append(DIGEST, len(DATA), 0, DATA[:1000])
    blobs.append(DIGEST, len(DATA), 0, DATA[:500])
    blobs.append(DIGEST, len(DATA), 500, DATA[500:2000])
    assert blobs.stat(DIGEST) == (len(DATA), 2000)
    blobs.append(DIGEST, len(DATA), 0, DATA)
    blobs.append(DIGEST, len(DATA), 0, DATA)
    assert blobs.path(DIGEST).read_bytes() == DATA


def test_a_gap_is_refused_with_the_place_to_go_on(blobs: LocalBlobs) -> None:
    blobs.append(DIGEST, len(DATA), 0, DATA[:1000])
    with pytest.raises(WrongState, match="1000 bytes are here"):
        blobs.append(DIGEST, len(DATA), 1001, DATA[1001:])
    assert blobs.stat(DIGEST) == (len(DATA), 1000)


def test_flipped_bytes_are_dropped(blobs: LocalBlobs, tmp_path: Path) -> None:
    flipped = DATA[:700] + bytes([DATA[700] ^ 1]) + DATA[701:]
    blobs.append(DIGEST, len(DATA), 0, flipped[:1000])
    with pytest.raises(DigestMismatch, match="send again"):
        blobs.append(DIGEST, len(DATA), 1000, flipped[1000:])
    assert files(tmp_path) == []
    blobs.append(DIGEST, len(DATA), 0, DATA)
    assert blobs.path(DIGEST).read_bytes() == DATA


def test_wrong_bytes_of_another_sender_do_not_spoil_a_file(
    blobs: LocalBlobs, tmp_path: Path
) -> None:
    source = tmp_path / "model"
    source.write_bytes(DATA)
    blobs.append(DIGEST, len(DATA), 0, b"x" * 1000)
    assert blobs.put_file(source) == DIGEST
    assert blobs.path(DIGEST).read_bytes() == DATA


def test_a_lie_about_the_size_is_refused_and_spoils_nothing(blobs: LocalBlobs) -> None:
    with pytest.raises(InvalidRequest, match="do not fit"):
        blobs.append(DIGEST, 100, 0, DATA)
    with pytest.raises(InvalidRequest, match="do not fit"):
        blobs.append(DIGEST, -1, 0, b"")
    with pytest.raises(InvalidRequest, match="do not fit"):
        blobs.append(DIGEST, 100, -5, b"abc")
    blobs.append(DIGEST, len(DATA), 0, DATA[:1000])
    with pytest.raises(DigestMismatch):
        blobs.append(DIGEST, 100, 0, DATA[:100])
    blobs.append(DIGEST, len(DATA) + 5, 0, DATA)
    assert blobs.stat(DIGEST) == (len(DATA) + 5, len(DATA))
    blobs.append(DIGEST, len(DATA), 1000, DATA[1000:])
    with pytest.raises(InvalidRequest, match=f"has {len(DATA)} bytes, not the"):
        blobs.append(DIGEST, len(DATA) + 5, len(DATA), b"12345")
    assert blobs.path(DIGEST).read_bytes() == DATA


def test_a_file_that_changes_while_it_is_read_is_refused(
    blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "model"
    source.write_bytes(DATA)
    monkeypatch.setattr(local, "digest_file", lambda _: (digest_bytes(DATA[:-1]), len(DATA) - 1))
    with pytest.raises(DigestMismatch, match="changed while it was read"):
        blobs.put_file(source)
    monkeypatch.setattr(local, "digest_file", lambda _: (digest_bytes(b"?"), len(DATA)))
    with pytest.raises(DigestMismatch):
        blobs.put_file(source)


def test_the_limit_counts_what_is_announced(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, limit_bytes=1000)
    blobs.put_bytes(b"a" * 400)
    blobs.append(DIGEST, 500, 0, b"")
    with pytest.raises(NoCapacity, match="room for 100"):
        blobs.put_bytes(b"b" * 101)
    blobs.put_bytes(b"c" * 100)
    with pytest.raises(NoCapacity, match="room for 0"):
        blobs.put_bytes(b"d")
    blobs.put_bytes(b"a" * 400)


def test_a_blob_larger_than_the_disk_is_refused_before_a_byte_of_it(blobs: LocalBlobs) -> None:
    with pytest.raises(NoCapacity, match="room for"):
        blobs.append(DIGEST, 2**60, 0, b"a")


def test_a_disk_that_fills_up_is_named(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoCapacity, match="the disk is full"):
        blobs.put_bytes(DATA)
    monkeypatch.undo()
    assert not blobs.has(DIGEST)
    blobs.put_bytes(DATA)
    assert blobs.path(DIGEST).read_bytes() == DATA


def test_an_upload_that_nobody_continues_is_dropped_after_a_week(
    blobs: LocalBlobs, tmp_path: Path
) -> None:
    blobs.append(DIGEST, len(DATA), 0, DATA[:10])
    (partial,) = files(tmp_path)
    six_days_ago = time.time() - 6 * 86_400
    os.utime(partial, (six_days_ago, six_days_ago))
    blobs.put_bytes(b"1")
    assert blobs.stat(DIGEST) == (len(DATA), 10)
    eight_days_ago = time.time() - 8 * 86_400
    os.utime(partial, (eight_days_ago, eight_days_ago))
    blobs.put_bytes(b"2")
    assert blobs.stat(DIGEST) == (0, 0)


def test_many_threads_may_send_the_same_blob(blobs: LocalBlobs, tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def send() -> None:
        barrier.wait(10)
        for at in range(0, len(DATA), 4096):
            blobs.append(DIGEST, len(DATA), at, DATA[at : at + 4096])

    with ThreadPoolExecutor(8) as pool:
        for sent in [pool.submit(send) for _ in range(8)]:
            sent.result(30)
    assert blobs.path(DIGEST).read_bytes() == DATA
    assert files(tmp_path) == [blobs.path(DIGEST)]


def send_in_process(root: Path, seed: int, rounds: int) -> None:
    """Send 20 blobs, each with its sharers, and every third spoilt at first."""
    blobs = LocalBlobs(root)
    for number in range(rounds):
        data = bytes([number]) * (3000 + number)
        digest = digest_bytes(data)
        if (number + seed) % 3 == 0:
            with contextlib.suppress(DigestMismatch):
                blobs.append(digest, len(data), 0, b"?" * len(data))
        source = root.parent / f"source-{seed}-{number}"
        source.write_bytes(data)
        for _ in range(50):  # Another process may spoil it again meanwhile.
            try:
                blobs.put_file(source, move=True)
                break
            except DigestMismatch:
                continue


def test_many_processes_may_send_right_and_wrong_bytes_of_the_same_blobs(tmp_path: Path) -> None:
    root, rounds = tmp_path / "blobs", 20
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=send_in_process, args=(root, n, rounds)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    blobs = LocalBlobs(root)
    for number in range(rounds):
        data = bytes([number]) * (3000 + number)
        assert blobs.path(digest_bytes(data)).read_bytes() == data
    assert not list(tmp_path.glob("source-*"))
    assert list((root / "partial").iterdir()) == []


def send_for_ever(root: Path) -> None:
    blobs = LocalBlobs(root)
    number = 0
    while True:
        number += 1
        blobs.put_bytes(str(number).encode() * 5000)


def test_a_killed_writer_leaves_nothing_wrong_behind(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    spawn = multiprocessing.get_context("fork")
    for wait_s in (0.05, 0.1, 0.2):
        process = spawn.Process(target=send_for_ever, args=(root,))
        process.start()
        time.sleep(wait_s)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(10)
    complete = [path for path in root.glob("sha256/*/*") if path.is_file()]
    assert complete
    for path in complete:
        assert digest_bytes(path.read_bytes()) == f"sha256:{path.name}"
    blobs = LocalBlobs(root)
    for number in range(1, 30):
        data = str(number).encode() * 5000
        assert blobs.path(blobs.put_bytes(data)).read_bytes() == data
