"""Recorded outputs with other values in them, and the kernel's files that no recording has.

Every function is pure.
"""

import re
from collections.abc import Callable, Mapping

from android_phone.identities import Identity

Change = Callable[[str], str]
"""Gives an output with other values."""

_SENSOR = re.compile(r"(Temperature\{mValue=)[^,]+(, mType=(?:[0-59]|-1), )")
_CURRENT = "Current temperatures from HAL:"
_STATUS = re.compile(r"^(Thermal Status: )\d", re.MULTILINE)
_TICKS_PER_S = 100


def with_temperature(thermal: str, celsius: float) -> str:
    """``dumpsys thermalservice`` with other present values of all sensors, not cached ones."""
    before, header, now = thermal.partition(_CURRENT)
    return before + header + _SENSOR.sub(rf"\g<1>{celsius:g}\g<2>", now)


def with_throttling(thermal: str, status: int) -> str:
    """``dumpsys thermalservice`` with another thermal status, 0 to 6."""
    return _STATUS.sub(rf"\g<1>{status}", thermal)


def with_battery(battery: str, name: str, value: object) -> str:
    """``dumpsys battery`` with another value in the first line of that name."""
    line = re.compile(rf"^(\s+{re.escape(name)}: ).*$", re.MULTILINE)
    return line.sub(rf"\g<1>{value}", battery, count=1)


def getprop(properties: Mapping[str, str]) -> str:
    """What ``getprop`` prints."""
    return "".join(f"[{name}]: [{value}]\n" for name, value in sorted(properties.items()))


def cpuinfo(identity: Identity) -> str:
    """/proc/cpuinfo; its features are those that the emulator has."""
    features = (
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp"
    )
    parts = [cluster.part for cluster in identity.clusters for _ in range(cluster.count)]
    return "\n".join(
        f"processor\t: {core}\nBogoMIPS\t: 38.40\nFeatures\t: {features}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {part:#x}\nCPU revision\t: 1\n"
        for core, part in enumerate(parts)
    )


def meminfo(identity: Identity) -> str:
    """/proc/meminfo of a phone with half of its memory free."""
    total_kib = identity.memory_bytes // 1024
    amounts = {"MemTotal": total_kib, "MemFree": total_kib // 8, "MemAvailable": total_kib // 2}
    return "".join(f"{name + ':':<15} {kib:>8} kB\n" for name, kib in amounts.items())


def processor_time(identity: Identity, busy_core_s: float) -> str:
    """/proc/stat after cores were busy for so long in sum; of one length whatever the time."""
    ticks = int(busy_core_s * _TICKS_PER_S)
    cores = "".join(f"cpu{core} 0 0 0 0 0 0 0 0 0 0\n" for core in range(identity.core_count))
    return f"cpu  {ticks:010d} 0 0 1000 0 0 0 0 0 0\n{cores}"


def processor_files(identity: Identity) -> dict[str, str]:
    """The files below /sys/devices/system/cpu, by their paths there."""
    last = identity.core_count - 1
    files = dict.fromkeys(("possible", "present", "online"), f"0-{last}")
    first = 0
    for number, cluster in enumerate(identity.clusters):
        cores = range(first, first + cluster.count)
        for core in cores:
            files |= {
                f"cpu{core}/cpufreq/cpuinfo_max_freq": str(cluster.max_khz),
                f"cpu{core}/cpufreq/cpuinfo_min_freq": str(cluster.max_khz // 5),
                f"cpu{core}/cpufreq/scaling_cur_freq": str(cluster.max_khz),
                f"cpu{core}/cpufreq/scaling_governor": "walt",
                f"cpu{core}/topology/cluster_cpus_list": f"{cores[0]}-{cores[-1]}",
                f"cpu{core}/topology/core_siblings_list": f"0-{last}",
                f"cpu{core}/topology/physical_package_id": str(number),
            }
        first += cluster.count
    return {path: f"{text}\n" for path, text in files.items()}
