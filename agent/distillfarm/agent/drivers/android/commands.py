"""What the driver asks a phone for in one go: who it is, what its programs must be, its clock."""

import re
import time
from dataclasses import replace

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import facts, jobs, shell
from distillfarm.domain.errors import DeviceOffline
from distillfarm.domain.hardware import DeviceInfo, RuntimeSupport

_MARK = "==distillfarm=="
# Android's loader and the GNU C library's tell which programs run.
_FLAVOUR = (
    "m=$(uname -m); if [ -e /system/bin/linker64 ]; then echo bionic-$m; "
    "elif ls /lib*/ld-linux-*.so.* >/dev/null 2>&1; then echo glibc-$m; else echo unknown-$m; fi"
)
_FACTS = (
    facts.PROPERTIES_COMMAND,
    facts.CLUSTERS_COMMAND,
    facts.CORES_COMMAND,
    facts.MEMORY_COMMAND,
    facts.GPU_COMMAND,
    facts.NPU_COMMAND,
)
_FACTS_S = 30.0


def flavour(device: AdbDevice) -> str:
    """What programs for this phone are built for, such as ``bionic-aarch64``.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``.
    """
    return shell.run(device, _FLAVOUR).text.strip()


def arrive(device: AdbDevice, folder: str) -> str:
    """End every job below ``folder``; the phone's ``flavour``.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``; call it again.
    """
    command = f"{{ {jobs.sweep_command(folder)}; }} >/dev/null; {_FLAVOUR}"
    return shell.run(device, command, jobs.SWEEP_S).text.strip()


def identify(device: AdbDevice) -> DeviceInfo:
    """What the phone is, before anything was tried on it.

    Raises:
        DeviceOffline: see ``shell.run``; also a phone that does not tell its build or its cores,
            as while it starts.
        DeviceTimeout: see ``shell.run``.
    """
    command = f"; echo {_MARK}; ".join(f"{{ {each}; }} 2>/dev/null" for each in _FACTS)
    output = shell.run(device, command, _FACTS_S).text
    parts = [part.strip("\n") for part in output.split(f"{_MARK}\n")]
    properties, clusters, cores, memory, gpu, npu = [*parts, *[""] * 6][:6]
    told = facts.identity(facts.properties(properties))
    core_count, memory_bytes = facts.cores(cores), facts.memory_bytes(memory)
    if not told.fingerprint or core_count is None or memory_bytes is None:
        raise DeviceOffline(
            f"{device.serial}: it does not tell its build, cores and memory yet; is it starting?"
        )
    return facts.device_info(
        str(device.serial),
        told,
        core_count,
        memory_bytes,
        core_clusters=facts.clusters(clusters),
        graphics=facts.gpu(gpu),
        neural_libraries=facts.npu_libraries(npu),
    )


def with_runtimes(info: DeviceInfo, runtimes: tuple[RuntimeSupport, ...]) -> DeviceInfo:
    """The same phone with what runs on it."""
    return replace(info, runtimes=runtimes)


def clock_offset_s(device: AdbDevice) -> float | None:
    """How far this computer's monotonic clock is ahead of the phone's time since its start.

    Known to half of the round trip and the 10 ms in which the kernel tells its uptime; None where
    the phone does not tell.

    Raises:
        DeviceOffline, DeviceTimeout: see ``shell.run``.
    """
    before_s = time.monotonic()
    told = re.match(r"(\d+\.\d+) ", shell.run(device, "cat /proc/uptime").text)
    after_s = time.monotonic()
    return (before_s + after_s) / 2 - float(told[1]) if told else None
