"""Clients that share no code with pymobiledevice3 find the same phone: libimobiledevice, go-ios."""

import json
import plistlib
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest
from iphone_fixtures import PROBE, probe_package
from iphone_phone import Lab, Phone, Trust

_PACKAGES = {"idevice_id": "libimobiledevice-utils", "ideviceinstaller": "ideviceinstaller"}
_COMMAND_S = 60.0
_WAIT_S = 30.0
Command = list[str | Path]
_JSON = ("{", "[", "null")


def environment(lab: Lab, address: str, **more: str) -> dict[str, str]:
    return lab.environment | {"USBMUXD_SOCKET_ADDRESS": address} | more


def run(
    command: Command, variables: dict[str, str], code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=variables,
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert code is None or done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done


class Libimobiledevice:
    """Debian's programs, on one phone."""

    def __init__(self, lab: Lab, phone: Phone) -> None:
        self._variables = environment(lab, f"UNIX:{lab.socket}")
        self._udid = phone.udid

    def __call__(self, program: str, *arguments: str | Path, code: int | None = 0) -> str:
        done = run([program, "-u", self._udid, *arguments], self._variables, code)
        return done.stdout + done.stderr


@pytest.fixture(scope="session")
def debian() -> None:
    """Debian's packages of its programs; skips by the name of what is missing."""
    for program, package in _PACKAGES.items():
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: install the Debian package {package}")


@pytest.fixture
def tools(debian: None, iphone_lab: Lab, iphone: Phone) -> Iterator[Libimobiledevice]:
    iphone_lab.forget_records()
    iphone.forget_hosts()
    yield Libimobiledevice(iphone_lab, iphone)
    # Its certificates are of another kind: pymobiledevice3 makes its own anew.
    iphone_lab.forget_records()


def test_libimobiledevice_lists_every_phone(debian: None, iphone_lab: Lab) -> None:
    variables = environment(iphone_lab, f"UNIX:{iphone_lab.socket}")
    found = run(["idevice_id", "-l"], variables).stdout.split()
    assert sorted(found) == sorted(phone.udid for phone in iphone_lab.phones)


def test_libimobiledevice_pairs_as_the_user_answers(iphone: Phone, tools: Libimobiledevice) -> None:
    iphone.change(trust=Trust.PENDING)
    assert "trust dialog" in tools("idevicepair", "pair", code=1)
    iphone.change(trust=Trust.DENIED)
    assert "denied the trust dialog" in tools("idevicepair", "pair", code=1)
    iphone.change(trust=Trust.GRANTED, locked=True)
    assert "passcode is set" in tools("idevicepair", "pair", code=1)
    iphone.change(locked=False)
    assert "SUCCESS" in tools("idevicepair", "pair")
    assert "SUCCESS" in tools("idevicepair", "validate")
    iphone.forget_hosts()
    assert "not paired" in tools("idevicepair", "validate", code=1)


def test_libimobiledevice_reads_facts_battery_and_image(
    iphone: Phone, tools: Libimobiledevice
) -> None:
    tools("idevicepair", "pair")
    assert tools("ideviceinfo", "-k", "ProductType").strip() == iphone.identity.product_type
    disk = plistlib.loads(tools("ideviceinfo", "-x", "-q", "com.apple.disk_usage").encode())
    assert disk["TotalDiskCapacity"] == iphone.identity.storage_bytes
    registry = tools("idevicediagnostics", "ioregentry", "AppleSmartBattery").strip()
    assert plistlib.loads(registry.encode())["IORegistry"]["Temperature"] == 2980
    signatures = tools("ideviceimagemounter", "-l")
    # It asks for the image of older systems only.
    assert ("AQEB" in signatures) != iphone.identity.system.personalizes
    assert iphone.identity.name in tools("idevicename")


def test_libimobiledevice_installs_and_removes_an_app(
    iphone: Phone, tools: Libimobiledevice, probe: Path
) -> None:
    tools("idevicepair", "pair")
    assert "Install: Complete" in tools("ideviceinstaller", "-i", probe)
    assert PROBE in tools("ideviceinstaller", "-l")
    assert f"stand-in profile of {PROBE}" in tools("ideviceprovision", "list")
    assert "Uninstall: Complete" in tools("ideviceinstaller", "-U", PROBE)
    assert PROBE not in tools("ideviceinstaller", "-l")
    other = iphone.identity.udid(iphone.number + 1)
    assert "SUCCESS" in tools("idevicepair", "unpair")
    assert other not in tools("idevicepair", "list")


class GoIos:
    """go-ios on one phone."""

    def __init__(self, program: Path, lab: Lab, phone: Phone, port: int) -> None:
        self._program, self._udid = program, phone.udid
        self.variables = environment(lab, f"unix://{lab.socket}", GO_IOS_AGENT_PORT=str(port))
        self._port = port

    def __call__(self, *arguments: str, code: int | None = 0) -> Any:
        """What it answers in JSON; where it does not, what it complains of."""
        done = run([self._program, *arguments, f"--udid={self._udid}"], self.variables, code)
        lines = [line for line in done.stdout.splitlines() if line.startswith(_JSON)]
        return json.loads(lines[0]) if lines else done.stderr

    @contextmanager
    def tunnel(self) -> Iterator[None]:
        """Hold a tunnel to the phone."""
        command: Command = [self._program, "tunnel", "start", "--userspace", f"--udid={self._udid}"]
        with TemporaryFile("w+") as words:
            holding = subprocess.Popen(
                command, env=self.variables, stdin=subprocess.DEVNULL, stdout=words, stderr=words
            )
            try:
                self._wait_for_tunnel(holding, words)
                yield
            finally:
                holding.send_signal(signal.SIGTERM)
                try:
                    holding.wait(_WAIT_S)
                except subprocess.TimeoutExpired:
                    holding.kill()
                    holding.wait()

    def _wait_for_tunnel(self, holding: subprocess.Popen[bytes], words: IO[str]) -> None:
        """Until it has come up, nobody answers."""
        ends_s = time.monotonic() + _WAIT_S
        asking: Command = [self._program, "tunnel", "ls"]
        while self._udid not in run(asking, self.variables, code=None).stdout:
            if time.monotonic() > ends_s:
                words.seek(0)
                pytest.fail(f"no tunnel in {_WAIT_S} s (ended: {holding.poll()}): {words.read()}")
            time.sleep(0.2)


def quiet_port() -> int:
    """A free port below those that Linux gives to outgoing connections: tests make many."""
    for port in random.sample(range(20_000, 32_768), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port among a hundred")


@pytest.fixture
def ios(go_ios: Path, iphone_lab: Lab, iphone: Phone) -> Iterator[GoIos]:
    iphone_lab.forget_records()
    iphone.forget_hosts()
    yield GoIos(go_ios, iphone_lab, iphone, quiet_port())
    iphone_lab.forget_records()


def test_go_ios_reads_facts_battery_and_developer_mode(iphone: Phone, ios: GoIos) -> None:
    ios("pair")
    facts = ios("info")
    assert facts["ProductType"] == iphone.identity.product_type
    assert facts["BuildVersion"] == iphone.identity.system.build
    battery = ios("batteryregistry")
    assert (battery["CurrentCapacity"], battery["Temperature"]) == (84, 2980)
    assert ios("devmode", "get") == {"DeveloperModeEnabled": True}
    assert ios("crash", "ls") == {"files": None, "length": 0}


def test_go_ios_launches_watches_and_kills_an_app(
    debian: None, iphone_lab: Lab, iphone: Phone, ios: GoIos, tmp_path: Path
) -> None:
    ios("pair")
    tools = Libimobiledevice(iphone_lab, iphone)
    tools("ideviceinstaller", "-i", probe_package(iphone, tmp_path))
    assert [app["CFBundleIdentifier"] for app in ios("apps")] == [PROBE]

    def use_instruments() -> None:
        assert "is not installed" in ios("launch", "org.example.none", code=1)
        ios("launch", PROBE, "--arg=wait")
        (process,) = ios("ps", "--apps")
        assert process["Name"] == "Runner"
        states = ios("devicestate", "list")
        assert [each["Identifier"] for each in states] == ["ThermalCondition"]
        ios("kill", PROBE)
        assert ios("ps", "--apps") is None

    if iphone.identity.system.has_tunnel:
        with ios.tunnel():
            services = ios("rsd", "ls")
            assert "com.apple.instruments.dtservicehub" in services
            use_instruments()
    else:
        use_instruments()
