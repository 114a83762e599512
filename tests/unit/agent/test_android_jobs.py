"""Detached jobs on a phone, through cut links, floods, crashes and kills."""

import time
from pathlib import Path

import psutil
import pytest
from adbutils import AdbClient, AdbDevice
from python_adbd import Daemon

from distillfarm.agent.drivers.android import jobs, link
from distillfarm.agent.drivers.android.jobs import Job, JobState
from distillfarm.domain.errors import DeviceOffline, InvalidRequest


def how(device: AdbDevice, job: Job, wait_s: float = 0.0) -> tuple[JobState, int | None]:
    """The job's state and exit code."""
    found = jobs.news(device, job, wait_s=wait_s)
    return found.state, found.code


def ended(device: AdbDevice, job: Job) -> tuple[JobState, int | None]:
    """How the job ended, within ten seconds."""
    ends_s = time.monotonic() + 10
    while (found := how(device, job))[0] is JobState.RUNNING:
        assert time.monotonic() < ends_s
        time.sleep(0.05)
    return found


def left(folder: Path) -> list[psutil.Process]:
    """The processes that still work in the folder."""
    return [
        process
        for process in psutil.process_iter(["cwd", "status"])
        if process.info["cwd"] == str(folder) and process.info["status"] != "zombie"
    ]


def assert_nothing_left(folder: Path) -> None:
    ends_s = time.monotonic() + 5
    while processes := left(folder):
        assert time.monotonic() < ends_s, processes
        time.sleep(0.05)


def test_a_job_gives_its_outputs_and_code_and_leaves_nothing(
    phone: AdbDevice, tmp_path: Path
) -> None:
    folder = tmp_path / "it's a job"
    job = jobs.start(phone, str(folder), "echo 'one \"two\"'; echo bad >&2; sleep 60 & exit 7", 30)
    assert ended(phone, job) == (JobState.ENDED, 7)
    assert jobs.news(phone, job).output == b'one "two"\n'
    assert jobs.news(phone, job, start_byte=4).output == b'"two"\n'
    assert jobs.news(phone, job, limit_bytes=3).output == b"one"
    assert jobs.news(phone, job).errors == b"bad\n"
    assert_nothing_left(folder)
    jobs.end(phone, job)
    jobs.end(phone, job)
    assert not folder.exists()


def test_a_job_outlives_the_link(
    phone: AdbDevice, daemon: Daemon, adb: AdbClient, tmp_path: Path
) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "sleep 1; echo done", 30)
    daemon.die()
    with pytest.raises(DeviceOffline):
        how(phone, job)
    link.reconnect(adb, daemon.address)
    assert ended(phone, job) == (JobState.ENDED, 0)
    assert jobs.news(phone, job).output == b"done\n"


def test_a_hanging_job_is_ended_on_the_phone_itself(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "echo begun; sleep 60", 0.5)
    assert ended(phone, job) == (JobState.TIMED_OUT, None)
    assert jobs.news(phone, job).output == b"begun\n"
    assert_nothing_left(tmp_path / "job")


def test_a_job_that_floods_its_output_is_ended(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "exec yes", 30, output_bytes=64 * 1024)
    state, code = ended(phone, job)
    assert state is JobState.ENDED
    # Killed by SIGXFSZ, or told by write(2) where the shell ignores that signal.
    assert code in (153, 1)
    assert (tmp_path / "job/out").stat().st_size == 64 * 1024


def test_a_job_that_is_ended_takes_its_children_along(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "sleep 60 & sleep 60", 90)
    assert how(phone, job) == (JobState.RUNNING, None)
    assert len(left(tmp_path / "job")) > 1
    jobs.end(phone, job)
    assert_nothing_left(tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_a_job_whose_session_was_killed_is_lost(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "kill -9 0", 30)
    assert ended(phone, job) == (JobState.LOST, None)


def test_a_job_of_another_run_of_the_kernel_is_lost(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "sleep 60", 90)
    assert how(phone, Job(job.folder, "another", job.pid)) == (JobState.LOST, None)
    jobs.end(phone, job)


def test_a_folder_is_used_once(phone: AdbDevice, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="name a new folder"):
        jobs.start(phone, str(tmp_path), "true", 30)
