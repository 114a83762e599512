"""The driver's parts against AOSP's own daemon and tools: shell, jobs, files, link, settings."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from adbutils import AdbClient, AdbDevice
from android_phone import Lab, Phone

from distillfarm.agent.drivers.android import commands, faults, jobs, link, shell, transfer
from distillfarm.agent.drivers.android.files import Cache
from distillfarm.agent.drivers.android.jobs import Job, JobState
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.fault import Fault, PhoneFault
from distillfarm.domain.errors import DeviceTimeout, NoCapacity

FOLDER = "/data/local/tmp/jobs"
# Starting a program takes an emulated phone a tenth of a second, and a busy computer more.
SLACK_S = 5.0


@pytest.fixture
def cache() -> Cache:
    return Cache(reserve_bytes=0, stall_s=10.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(3_000_000))
    return path


def how(device: AdbDevice, job: Job, wait_s: float = 0.0) -> tuple[JobState, int | None]:
    """The job's state and exit code."""
    found = jobs.news(device, job, wait_s=wait_s)
    return found.state, found.code


def ended(device: AdbDevice, job: Job, limit_s: float = 30.0) -> tuple[JobState, int | None]:
    ends_s = time.monotonic() + limit_s
    while (found := how(device, job, 1.0))[0] is JobState.RUNNING:
        assert time.monotonic() < ends_s
    return found


def running(device: AdbDevice, words: str) -> int:
    """How many processes of the phone have these words in their command line."""
    told = shell.run(device, "ps -A -o ARGS").text.splitlines()
    return sum(words in line for line in told)


def later(delay_s: float, act: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(delay_s, act)
    timer.start()
    return timer


def in_mid_transfer(phone: Phone, act: Callable[[], None]) -> threading.Thread:
    """Acts when the first bytes of a file have arrived."""

    def work() -> None:
        ends_s = time.monotonic() + 20
        while not any(part.stat().st_size for part in phone.data.glob("distillfarm/*.part")):
            assert time.monotonic() < ends_s
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def silence(phone: Phone, how: str) -> None:
    {"cut": phone.cut_link, "frozen": phone.freeze}[how]()


def test_the_phone_takes_programs_of_the_gnu_library(device: AdbDevice) -> None:
    assert commands.flavour(device) == "glibc-aarch64"


@pytest.mark.parametrize("how", ["cut", "frozen"])
def test_a_time_out_holds_when_the_phone_falls_silent(
    device: AdbDevice, adb: AdbClient, phone: Phone, how: str
) -> None:
    silence(phone, how)
    began_s = time.monotonic()
    with pytest.raises(DeviceTimeout):
        shell.run(device, "echo x", 1.5)
    assert 1.4 < time.monotonic() - began_s < 1.5 + SLACK_S
    assert link.diagnose(adb, phone.address, timeout_s=1.0) is faults.SILENT


@pytest.mark.parametrize("how", ["cut", "frozen"])
def test_a_time_out_holds_when_the_phone_falls_silent_in_mid_command(
    device: AdbDevice, phone: Phone, how: str
) -> None:
    timer = later(1.0, lambda: silence(phone, how))
    began_s = time.monotonic()
    with pytest.raises(DeviceTimeout):
        shell.run(device, "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.2; done", 3.0)
    assert time.monotonic() - began_s < 3.0 + SLACK_S
    timer.join()


def test_a_command_that_takes_too_long_is_ended_on_the_phone(device: AdbDevice) -> None:
    with pytest.raises(DeviceTimeout):
        shell.run(device, "sleep 4711", 1.0)
    ends_s = time.monotonic() + 10
    while running(device, "sleep 4711"):
        assert time.monotonic() < ends_s
        time.sleep(0.2)


def test_a_flood_is_stopped_at_its_limit(device: AdbDevice) -> None:
    result = shell.run(device, "yes", 20.0, limit_bytes=100_000)
    assert result.flooded
    assert len(result.stdout) == 100_000


@pytest.mark.parametrize("who", ["daemon", "server"])
def test_a_stream_that_ends_without_an_exit_code_is_no_result(
    device: AdbDevice, phone: Phone, phone_lab: Lab, who: str
) -> None:
    timer = later(1.0, {"daemon": phone.kill_adbd, "server": phone_lab.kill_server}[who])
    with pytest.raises(PhoneFault) as caught:
        shell.run(device, "echo begun; sleep 20; echo done", 15.0)
    assert caught.value.fault is faults.CUT
    timer.join()


def test_a_phone_whose_daemon_died_is_connected_anew(adb: AdbClient, phone: Phone) -> None:
    before = link.baseline(adb.device(phone.address))
    phone.stop_adbd()
    assert found(adb, phone) in (faults.OFFLINE, faults.GONE)
    with pytest.raises(PhoneFault) as caught:
        link.reconnect(adb, phone.address, 3.0)
    assert caught.value.fault is faults.UNREACHABLE
    phone.start_adbd()
    link.reconnect(adb, phone.address)
    assert link.diagnose(adb, phone.address, before) is None


def found(adb: AdbClient, phone: Phone) -> Fault | None:
    """What is wrong, as soon as something is."""
    ends_s = time.monotonic() + 10
    while (fault := link.diagnose(adb, phone.address)) is None:
        assert time.monotonic() < ends_s
    return fault


def test_a_phone_is_connected_anew_after_the_server_died(
    adb: AdbClient, phone: Phone, phone_lab: Lab
) -> None:
    phone_lab.kill_server()
    phone_lab.start_server()
    assert link.diagnose(adb, phone.address) is faults.GONE
    link.reconnect(adb, phone.address)


def test_a_job_gives_outputs_and_code_and_leaves_nothing(device: AdbDevice) -> None:
    command = "echo 'one \"two\"'; echo bad >&2; sleep 4711 & setsid sleep 4711 & exit 7"
    job = jobs.start(device, f"{FOLDER}/it's a job", command, 30)
    assert ended(device, job) == (JobState.ENDED, 7)
    assert jobs.news(device, job, start_byte=4).output == b'"two"\n'
    assert jobs.news(device, job).errors == b"bad\n"
    jobs.end(device, job)
    jobs.end(device, job)
    assert running(device, "sleep 4711") == 0
    assert shell.run(device, f"ls {FOLDER}").text == ""


def test_a_job_outlives_a_cut_link(device: AdbDevice, adb: AdbClient, phone: Phone) -> None:
    job = jobs.start(device, f"{FOLDER}/cut", "for i in 1 2 3 4; do echo $i; sleep 1; done", 60)
    phone.cut_link()
    with pytest.raises(DeviceTimeout):
        shell.run(device, "echo x", 1.0)
    # It ends while nobody can reach the phone.
    time.sleep(6)
    phone.restore_link()
    link.reconnect(adb, phone.address)
    assert ended(device, job) == (JobState.ENDED, 0)
    assert jobs.news(device, job).output == b"1\n2\n3\n4\n"


def test_a_job_outlives_the_daemon(device: AdbDevice, adb: AdbClient, phone: Phone) -> None:
    job = jobs.start(device, f"{FOLDER}/dead", "sleep 3; echo done", 60)
    phone.stop_adbd()
    phone.start_adbd()
    link.reconnect(adb, phone.address)
    assert ended(device, job) == (JobState.ENDED, 0)
    assert jobs.news(device, job).output == b"done\n"


def test_a_job_is_ended_at_its_limit_without_a_link(
    device: AdbDevice, adb: AdbClient, phone: Phone
) -> None:
    job = jobs.start(device, f"{FOLDER}/long", "echo begun; sleep 4711", 2.0)
    phone.cut_link()
    time.sleep(4)
    phone.restore_link()
    link.reconnect(adb, phone.address)
    assert how(device, job) == (JobState.TIMED_OUT, None)
    assert jobs.news(device, job).output == b"begun\n"
    assert running(device, "sleep 4711") == 0


def test_who_waits_for_a_job_is_told_as_soon_as_it_ends(device: AdbDevice) -> None:
    job = jobs.start(device, f"{FOLDER}/wait", "sleep 2", 60)
    began_s = time.monotonic()
    assert how(device, job, 1.0) == (JobState.RUNNING, None)
    assert time.monotonic() - began_s >= 1.0
    assert how(device, job, 20.0) == (JobState.ENDED, 0)
    assert time.monotonic() - began_s < 2.0 + SLACK_S


def test_a_job_that_floods_its_output_is_ended(device: AdbDevice) -> None:
    job = jobs.start(device, f"{FOLDER}/flood", "exec yes", 60, output_bytes=64 * 1024)
    state, code = ended(device, job)
    assert state is JobState.ENDED
    # Killed by SIGXFSZ, or told by write(2) where the shell ignores that signal.
    assert code in (153, 1)
    assert shell.run(device, f"stat -c %s {job.folder}/out").text == "65536\n"


def test_a_sweep_ends_every_job_of_an_agent_that_died(device: AdbDevice) -> None:
    for name in ("one", "two"):
        jobs.start(device, f"{FOLDER}/{name}", "setsid sleep 4711 & sleep 4711", 60)
    assert running(device, "sleep 4711") >= 4
    jobs.end_all(device, FOLDER)
    assert running(device, "sleep 4711") == 0
    assert shell.run(device, f"ls {FOLDER}").code != 0


def test_a_job_is_lost_when_the_phone_restarts(
    device: AdbDevice, adb: AdbClient, phone: Phone
) -> None:
    job = jobs.start(device, f"{FOLDER}/lost", "sleep 4711", 60)
    phone.reboot()
    link.reconnect(adb, phone.address)
    assert how(device, job) == (JobState.LOST, None)


def test_no_job_starts_on_a_full_disk(device: AdbDevice, phone: Phone) -> None:
    phone.fill_disk()
    with pytest.raises(NoCapacity):
        jobs.start(device, f"{FOLDER}/full", "true", 30)


def test_a_file_arrives_by_its_digest_and_once(
    device: AdbDevice, phone: Phone, cache: Cache, model: Path
) -> None:
    path = cache.push(device, model, "it's a model.onnx")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert path == f"{cache.folder}/{digest}/it's a model.onnx"
    there = phone.data / path.removeprefix("/data/local/tmp/")
    assert there.read_bytes() == model.read_bytes()
    assert os.access(there, os.X_OK)
    number = there.stat().st_ino
    assert cache.push(device, model, "it's a model.onnx") == path
    assert there.stat().st_ino == number
    (entry,) = cache.entries(device)
    assert entry.digest == digest
    assert entry.size_bytes == pytest.approx(3_000_000, rel=0.05)


def test_what_was_used_longest_ago_makes_room(
    device: AdbDevice, cache: Cache, tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in ("old", "new", "newest")]
    small = Cache(cache.folder, limit_bytes=2_500_000, reserve_bytes=0)
    for path in paths:
        path.write_bytes(os.urandom(1_000_000))
        small.push(device, path, "file")
        time.sleep(1.1)
    kept = {entry.digest for entry in small.entries(device)}
    assert kept == {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths[1:]}


def test_a_cache_of_many_files_is_listed_at_once(
    device: AdbDevice, phone: Phone, cache: Cache, model: Path
) -> None:
    for number in range(400):
        folder = phone.data / "distillfarm" / f"{number:064x}"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"x" * 5000)
    for folder in (phone.data / "distillfarm", *(phone.data / "distillfarm").iterdir()):
        os.chown(folder, 2000, 2000)
    # A program takes an emulated phone a tenth of a second: one for each would take a minute.
    began_s = time.monotonic()
    entries = cache.entries(device)
    assert time.monotonic() - began_s < SLACK_S
    assert {entry.digest for entry in entries} == {f"{number:064x}" for number in range(400)}
    assert all(5000 <= entry.size_bytes <= 16384 for entry in entries)
    cache.push(device, model, "model.onnx")


def test_a_full_disk_is_no_capacity(
    device: AdbDevice, phone: Phone, cache: Cache, model: Path
) -> None:
    phone.fill_disk(left_bytes=1_000_000)
    with pytest.raises(NoCapacity, match="no room for"):
        cache.push(device, model, "model.onnx")
    phone.free_disk()
    cache.push(device, model, "model.onnx")


def test_a_disk_that_fills_in_mid_transfer_is_no_capacity(
    device: AdbDevice, phone: Phone, model: Path
) -> None:
    phone.fill_disk(left_bytes=1_000_000)
    with pytest.raises(NoCapacity, match="No space left on device"):
        transfer.send(device, model, "/data/local/tmp/model.onnx")


@pytest.mark.parametrize("how", ["cut", "frozen"])
def test_a_stalled_transfer_ends_and_is_done_anew(
    device: AdbDevice, adb: AdbClient, phone: Phone, tmp_path: Path, how: str
) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(30_000_000))
    impatient = Cache(reserve_bytes=0, stall_s=2.0)
    silencing = in_mid_transfer(phone, lambda: silence(phone, how))
    with pytest.raises(DeviceTimeout):
        impatient.push(device, big, "big")
    silencing.join()
    phone.restore_link()
    phone.thaw()
    link.reconnect(adb, phone.address)
    path = Cache(reserve_bytes=0).push(device, big, "big")
    assert (phone.data / path.removeprefix("/data/local/tmp/")).read_bytes() == big.read_bytes()
    assert ".part" not in shell.run(device, "ls /data/local/tmp/distillfarm").text


def test_a_refused_folder_is_the_phones_fault(device: AdbDevice, model: Path) -> None:
    with pytest.raises(PhoneFault) as caught:
        transfer.send(device, model, "/system/model.onnx")
    assert caught.value.fault is faults.REFUSED


def test_settings_are_put_back_by_the_agent_after_the_one_that_died(
    device: AdbDevice, phone: Phone, tmp_path: Path
) -> None:
    state, kept = phone.state, tmp_path / "kept.json"
    shell.run(device, "settings delete system screen_brightness_mode")
    SettingsGuard(kept, by_cable=True).prepare(device)
    assert state.setting("global", "stay_on_while_plugged_in") == "7"
    assert state.setting("global", "airplane_mode_on") == "1"
    assert shell.run(device, "dumpsys deviceidle enabled").text == "0\n"
    assert "Awake" in shell.run(device, "dumpsys power").text
    SettingsGuard(kept, by_cable=True).restore(device)
    assert state.setting("global", "stay_on_while_plugged_in") == "0"
    assert state.setting("global", "airplane_mode_on") == "0"
    assert state.setting("system", "screen_off_timeout") == "60000"
    assert state.setting("system", "screen_brightness_mode") is None
    assert shell.run(device, "dumpsys deviceidle enabled").text == "1\n"
    assert not kept.exists()
