"""The shell, its limits and the link, behind a real adb server."""

import socket
import subprocess
import time
from threading import Timer

import pytest
from adbutils import AdbClient, AdbDevice
from python_adbd import Daemon

from distillfarm.agent.drivers.android import facts, faults, link, shell
from distillfarm.agent.drivers.android.link import Baseline
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.domain.errors import DeviceTimeout, InvalidRequest


def test_a_command_gives_both_outputs_and_its_code(phone: AdbDevice) -> None:
    assert shell.run(phone, "echo out; echo err >&2; exit 7") == shell.ShellResult(
        7, b"out\n", b"err\n"
    )


def test_a_large_output_arrives_whole(phone: AdbDevice) -> None:
    result = shell.run(phone, "head -c 1000000 /dev/zero")
    assert (result.code, len(result.stdout), result.flooded) == (0, 1_000_000, False)


def test_a_flood_is_ended_with_what_came_before(phone: AdbDevice) -> None:
    result = shell.run(phone, "yes flood", limit_bytes=10_000)
    assert (result.code, result.flooded) == (None, True)
    assert result.stdout == (b"flood\n" * 1667)[:10_000]


def test_a_time_out_holds_for_a_slow_command_and_for_a_trickle(phone: AdbDevice) -> None:
    for command in ("sleep 30", "while true; do echo x; sleep 0.1; done"):
        began_s = time.monotonic()
        with pytest.raises(DeviceTimeout, match=r"took longer than 0\.5 s"):
            shell.run(phone, command, timeout_s=0.5)
        assert time.monotonic() - began_s < 2


def test_a_command_too_long_for_adb_is_refused(phone: AdbDevice) -> None:
    with pytest.raises(InvalidRequest, match="push a file"):
        shell.run(phone, "x" * 70_000)


def test_a_daemon_that_dies_is_the_harness_fault(
    phone: AdbDevice, daemon: Daemon, adb: AdbClient
) -> None:
    Timer(0.3, daemon.die).start()
    with pytest.raises(PhoneFault) as caught:
        shell.run(phone, "echo a; sleep 30")
    assert caught.value.fault is faults.CUT
    link.reconnect(adb, daemon.address)
    assert shell.run(phone, "echo back").text == "back\n"


def test_a_cut_link_is_found_though_adb_says_device(
    phone: AdbDevice, daemon: Daemon, adb: AdbClient
) -> None:
    assert link.diagnose(adb, daemon.address) is None
    daemon.faults.deaf = True
    assert link.states(adb)[daemon.address] == "device"
    assert link.diagnose(adb, daemon.address, timeout_s=0.5) is faults.SILENT
    daemon.faults.deaf = False
    # The server goes on to say that it is connected already: only a new connection helps.
    assert "already" in adb.connect(daemon.address)
    link.reconnect(adb, daemon.address)
    assert link.diagnose(adb, daemon.address) is None


def test_an_unauthorized_phone_says_so(adb: AdbClient) -> None:
    daemon = Daemon()
    daemon.faults.unauthorized = True
    try:
        with pytest.raises(PhoneFault, match="accept this computer's key") as caught:
            link.reconnect(adb, daemon.address, timeout_s=5)
        assert caught.value.fault is faults.UNAUTHORIZED
    finally:
        adb.disconnect(daemon.address)
        daemon.stop()


def test_a_phone_that_is_not_there_is_gone_or_unreachable(adb: AdbClient) -> None:
    assert link.diagnose(adb, "R5CX") is faults.GONE
    with pytest.raises(PhoneFault) as caught:
        shell.run(adb.device("R5CX"), "true")
    assert caught.value.fault is faults.GONE
    with pytest.raises(PhoneFault) as caught:
        link.reconnect(adb, "127.0.0.1:1", timeout_s=5)
    assert caught.value.fault is faults.UNREACHABLE


def test_no_server_is_started_by_asking_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr(subprocess, "run", start)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = shell.adb_client(port=free.getsockname()[1])
        for ask in (
            lambda: link.states(nobody),
            lambda: shell.run(nobody.device("R5CX"), "true"),
            lambda: link.reconnect(nobody, "127.0.0.1:1", timeout_s=1.0),
        ):
            with pytest.raises(PhoneFault) as caught:
                ask()
            assert caught.value.fault is faults.NO_SERVER


def test_a_restart_and_an_update_under_a_job_are_found(
    daemon: Daemon, adb: AdbClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        facts, "PROPERTIES_COMMAND", "echo '[ro.build.fingerprint]: [maker/phone:14/A1]'"
    )
    now = link.baseline(adb.device(daemon.address))
    assert now.fingerprint == "maker/phone:14/A1"
    assert now.boot_id
    assert link.diagnose(adb, daemon.address, now) is None
    restarted = Baseline("00000000-0000-0000-0000-000000000000", now.fingerprint)
    assert link.diagnose(adb, daemon.address, restarted) is faults.REBOOTED
    updated = Baseline(restarted.boot_id, "maker/phone:13/Z9")
    assert link.diagnose(adb, daemon.address, updated) is faults.UPDATED
