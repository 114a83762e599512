"""Whether a phone really answers, and how to get it back.

The state that adb lists is not trusted: after a silent cut it stays ``device``.
"""

import subprocess
import time
from dataclasses import dataclass

from adbutils import AdbClient, AdbDevice, AdbError

from distillfarm.agent.drivers.android import facts, faults, readings, shell
from distillfarm.agent.drivers.fault import Fault, PhoneFault
from distillfarm.domain.errors import DeviceTimeout

_PROBE_TIMEOUT_S = 5.0
_SETTLE_S = 0.2


@dataclass(frozen=True)
class Baseline:
    """What may not change under a job: the run of the kernel, and the build."""

    boot_id: str | None
    fingerprint: str


def states(client: AdbClient) -> dict[str, str]:
    """The state of every phone that the adb server lists, by serial.

    Raises:
        PhoneFault: there is no server and none could be started.
    """
    try:
        return {each.serial: each.state for each in client.list()}
    except (AdbError, OSError, subprocess.SubprocessError) as error:
        raise PhoneFault("adb server", faults.NO_SERVER, str(error)) from error


def baseline(device: AdbDevice, timeout_s: float = _PROBE_TIMEOUT_S) -> Baseline:
    """The baseline now.

    Raises:
        PhoneFault: see ``shell.run``; also a phone that answers nothing.
        DeviceTimeout: see ``shell.run``.
    """
    command = f"{readings.BOOT_COMMAND}; {facts.PROPERTIES_COMMAND}"
    boot, _, properties = shell.run(device, command, timeout_s).text.partition("\n")
    build = facts.identity(facts.properties(properties)).fingerprint
    found = Baseline(readings.boot_id(boot), build)
    if found.boot_id is None and not build:
        raise PhoneFault(str(device.serial), faults.SILENT, "")
    return found


def diagnose(
    client: AdbClient,
    serial: str,
    before: Baseline | None = None,
    timeout_s: float = _PROBE_TIMEOUT_S,
) -> Fault | None:
    """What is wrong with a phone, or None: asks the list, then the phone itself.

    ``before`` is the baseline at the start of the job, to find a restart or an update.
    """
    try:
        fault = faults.classify_state(states(client).get(serial))
        if fault is not None:
            return fault
        now = baseline(client.device(serial), timeout_s)
    except PhoneFault as error:
        return error.fault
    except DeviceTimeout:
        return faults.SILENT
    if before is None or now == before:
        return None
    return faults.REBOOTED if now.fingerprint == before.fingerprint else faults.UPDATED


def reconnect(client: AdbClient, address: str, timeout_s: float = 20.0) -> None:
    """Connect a phone on the network, ``HOST:PORT``, anew.

    The old connection is given up first: to an offline phone the server says that it is
    connected already. Afterwards the phone answers.

    Raises:
        PhoneFault: it cannot be reached, or does not answer in the time.
        DeviceTimeout: the server is stuck.
    """
    ends_s = time.monotonic() + timeout_s
    try:
        client.disconnect(address)
        words = client.connect(address, timeout=timeout_s)
    except (AdbError, OSError, subprocess.SubprocessError) as error:
        raise PhoneFault(address, faults.classify(str(error)), str(error)) from error
    fault = faults.classify(words)
    if fault is not faults.UNKNOWN:
        raise PhoneFault(address, fault, words)
    while (wrong := diagnose(client, address)) is not None:
        if wrong is faults.UNAUTHORIZED or time.monotonic() >= ends_s:
            raise PhoneFault(address, wrong, words)
        time.sleep(_SETTLE_S)
