"""Tasks in the sandbox: results, errors, limits, walls."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sandbox_tasks import AssertGone, Report, Text, Tried

from distillfarm.compression.protocols import PassRefused
from distillfarm.domain.errors import Cancelled, FarmError, InternalError, ModelRejected
from distillfarm.sandbox import Limits, errors, tasks, wire
from distillfarm.sandbox.process import spawn

MIB = 1024**2
ROOMY = Limits(memory_bytes=512 * MIB, wall_s=30, disk_bytes=64 * MIB)


def run(
    name: str,
    text: str,
    folder: Path,
    limits: Limits = ROOMY,
    *,
    report: Report = tasks.ignore_progress,
    cancelled: Callable[[], bool] = tasks.never_cancelled,
) -> Text:
    return tasks.run(
        f"sandbox_tasks:{name}",
        Text(text),
        Text,
        limits=limits,
        folder=folder,
        report=report,
        cancelled=cancelled,
    )


def test_result_and_progress_come_back_and_prints_do_not_disturb(tmp_path: Path) -> None:
    seen = []
    result = run("echo", "hello", tmp_path, report=lambda done, text: seen.append((done, text)))
    assert result == Text("HELLO")
    assert seen == [(0.5, "half [31m way there")]


def test_what_a_task_wrote_comes_back_however_it_ended(tmp_path: Path) -> None:
    words: list[str] = []
    for name in ("echo", "segfault"):
        with contextlib.suppress(errors.TaskCrashed):
            tasks.run(
                f"sandbox_tasks:{name}",
                Text("hello"),
                Text,
                limits=ROOMY,
                folder=tmp_path,
                wrote=words.append,
            )
    assert words == ["noise on standard output\n", ""]


def test_callbacks_run_in_the_callers_thread_outside_any_event_loop(tmp_path: Path) -> None:
    threads = []
    run("echo", "", tmp_path, report=lambda *_: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize(
    ("name", "kind"), [("reject", ModelRejected), ("refuse_pass", PassRefused)]
)
def test_domain_error_comes_out_as_the_same_class(
    tmp_path: Path, name: str, kind: type[FarmError]
) -> None:
    with pytest.raises(kind, match=r"^conv1: no$") as caught:
        run(name, "conv1:\nno", tmp_path)
    assert type(caught.value) is kind


def test_defect_in_a_task_is_an_internal_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match=r"ZeroDivisionError: oops$"):
        run("defect", "oops", tmp_path)


def test_unknown_error_class_becomes_internal_without_import(tmp_path: Path) -> None:
    assert type(wire.revive(wire.Failed("os.system", "x"))) is InternalError


def test_segfault_is_a_crash(tmp_path: Path) -> None:
    with pytest.raises(errors.TaskCrashed, match="SIGSEGV"):
        run("segfault", "", tmp_path)


@pytest.mark.parametrize(("name", "text"), [("hoard", ""), ("one_big_block", str(10**12))])
def test_too_much_memory_is_told_from_a_crash(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(errors.TaskOutOfMemory, match=r"0\.125 GiB"):
        run(name, text, tmp_path, Limits(128 * MIB, 30, MIB))


def test_memory_within_the_limit_is_given(tmp_path: Path) -> None:
    assert run("one_big_block", str(100 * MIB), tmp_path, Limits(256 * MIB, 30, MIB)) == Text(
        str(100 * MIB)
    )


def test_too_long_is_ended_in_time(tmp_path: Path, assert_gone: AssertGone) -> None:
    pids: list[int] = []
    begun = time.monotonic()
    with pytest.raises(errors.TaskOutOfTime, match="1 s"):
        run(
            "sleep",
            "",
            tmp_path,
            Limits(256 * MIB, 1, MIB),
            report=lambda _, text: pids.append(int(text)),
        )
    assert time.monotonic() - begun < 5
    assert_gone(*pids)


@pytest.mark.parametrize("name", ["fill_disk_with_one_file", "fill_disk_with_many_files"])
def test_disk_excess_is_ended_and_bounded(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.TaskOutOfDisk):
        run(name, "", tmp_path, Limits(256 * MIB, 60, 8 * MIB))
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 120 * MIB


def test_flood_of_output_is_ended(tmp_path: Path) -> None:
    with pytest.raises(errors.TaskCrashed, match="printed without end"):
        run("flood", "", tmp_path)


def test_cancel_ends_the_task_and_returns_only_then(
    tmp_path: Path, assert_gone: AssertGone
) -> None:
    pids: list[int] = []
    with pytest.raises(Cancelled):
        run(
            "sleep",
            "",
            tmp_path,
            report=lambda _, text: pids.append(int(text)),
            cancelled=lambda: bool(pids),
        )
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_error_in_a_callback_ends_the_task(tmp_path: Path) -> None:
    pids: list[int] = []

    def report(_: float, text: str) -> None:
        pids.append(int(text))
        raise KeyError("caller's own")

    with pytest.raises(KeyError):
        run("sleep", "", tmp_path, report=report)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_an_answer_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"type":"Done","result":{"text":"stolen"}}')
    with pytest.raises(InternalError):
        run("lie", str(secret), tmp_path / "work")


def test_what_a_task_leaves_running_dies_with_it(tmp_path: Path, assert_gone: AssertGone) -> None:
    pids: list[int] = []
    run("family", "", tmp_path, report=lambda _, text: pids.extend(map(int, text.split())))
    assert len(pids) == 4
    assert_gone(*pids)


async def test_walls_that_the_kernel_offers_stand(tmp_path: Path) -> None:
    """What is claimed is true, and no wall that Landlock offers is left out."""
    outside = tmp_path / "outside"
    received = []
    before = signal.signal(signal.SIGUSR1, lambda *_: received.append(1))
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            tried = tasks.run(
                "sandbox_tasks:try_to_escape",
                Text(f"{outside}|{os.getpid()}|{port}"),
                Tried,
                limits=ROOMY,
                folder=tmp_path / "work",
            )
    finally:
        signal.signal(signal.SIGUSR1, before)
    async with await spawn(["/bin/true"], limits=ROOMY, folder=tmp_path) as process:
        claimed = process.walls
    version = landlock_version()
    assert ("writes only in the folder" in claimed) == (version >= 1)
    assert ("no signals to others" in claimed) == (version >= 6)
    assert tried.wrote == outside.exists() == (version < 1)
    assert tried.signalled == bool(received) == (version < 6)
    assert tried.connected == ("no network" not in claimed and version < 4)


def landlock_version() -> int:
    """What the kernel itself says; 0 without Landlock."""
    if sys.platform != "linux":
        return 0
    version: int = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
    return max(0, version)


def test_environment_holds_no_credentials_and_stays_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILLFARM_AGENT_TOKEN", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    text = run("environment", "", tmp_path).text
    assert "hunter2" not in text
    assert f"HOME={tmp_path}" in text
    assert f"TMPDIR={tmp_path}" in text
    assert "OMP_NUM_THREADS=1" in text
