"""Detached jobs on a phone, through cut links, floods, crashes and kills."""

import time
from pathlib import Path

import psutil
import pytest
from adbutils import AdbClient, AdbDevice
from python_adbd import Daemon

from distillfarm.agent.drivers.android import jobs, link
from distillfarm.agent.drivers.android.jobs import Job, JobState, Progress
from distillfarm.domain.errors import DeviceOffline, InvalidRequest


def ended(device: AdbDevice, job: Job) -> Progress:
    """How the job ended, within ten seconds."""
    ends_s = time.monotonic() + 10
    while (progress := jobs.progress(device, job)).state is JobState.RUNNING:
        assert time.monotonic() < ends_s
        time.sleep(0.05)
    return progress


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
    assert ended(phone, job) == Progress(JobState.ENDED, 7)
    assert jobs.output(phone, job) == b'one "two"\n'
    assert jobs.output(phone, job, start_byte=4) == b'"two"\n'
    assert jobs.output(phone, job, limit_bytes=3) == b"one"
    assert jobs.errors(phone, job) == b"bad\n"
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
        jobs.progress(phone, job)
    link.reconnect(adb, daemon.address)
    assert ended(phone, job) == Progress(JobState.ENDED, 0)
    assert jobs.output(phone, job) == b"done\n"


def test_a_hanging_job_is_ended_on_the_phone_itself(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "echo begun; sleep 60", 0.5)
    assert ended(phone, job) == Progress(JobState.TIMED_OUT)
    assert jobs.output(phone, job) == b"begun\n"
    assert_nothing_left(tmp_path / "job")


def test_a_job_that_floods_its_output_is_ended(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "exec yes", 30, output_bytes=64 * 1024)
    progress = ended(phone, job)
    assert progress.state is JobState.ENDED
    # Killed by SIGXFSZ, or told by write(2) where the shell ignores that signal.
    assert progress.code in (153, 1)
    assert (tmp_path / "job/out").stat().st_size == 64 * 1024


def test_a_job_that_is_ended_takes_its_children_along(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "sleep 60 & sleep 60", 90)
    assert jobs.progress(phone, job) == Progress(JobState.RUNNING)
    assert len(left(tmp_path / "job")) > 1
    jobs.end(phone, job)
    assert_nothing_left(tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_a_job_whose_session_was_killed_is_lost(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "kill -9 0", 30)
    assert ended(phone, job) == Progress(JobState.LOST)


def test_a_job_of_another_run_of_the_kernel_is_lost(phone: AdbDevice, tmp_path: Path) -> None:
    job = jobs.start(phone, str(tmp_path / "job"), "sleep 60", 90)
    assert jobs.progress(phone, Job(job.folder, "another", job.pid)) == Progress(JobState.LOST)
    jobs.end(phone, job)


def test_a_folder_is_used_once(phone: AdbDevice, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="name a new folder"):
        jobs.start(phone, str(tmp_path), "true", 30)
