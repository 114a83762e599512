"""What this computer is made of, and how it fares now."""

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from distillfarm.domain.hardware import Chipset
from distillfarm.domain.ids import fresh_id
from distillfarm.files import whole

UNREADABLE = "unreadable"
_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


def serial(folder: Path) -> str:
    """The same for this installation of the operating system, and telling nothing of it.

    Where there is no machine id (some containers) a random one is kept in ``folder``.
    """
    identity = _text(Path("/etc/machine-id"))
    if not identity:
        kept = folder / "machine-id"
        if not kept.exists():
            whole.write(kept, fresh_id("machine").encode())
        identity = kept.read_text()
    # machine-id(5) asks not to show the id itself.
    return "host-" + hashlib.sha256(f"distillfarm:{identity}".encode()).hexdigest()[:12]


def model() -> str:
    """The computer's name by its maker, else its kind of processor."""
    named = _text(Path("/sys/class/dmi/id/product_name")) or _text(
        Path("/sys/firmware/devicetree/base/model")
    )
    return named.strip("\0") or f"{platform.machine()} computer"


def chipset() -> Chipset:
    """The processor as /proc/cpuinfo or else Python names it."""
    fields: dict[str, str] = {}
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    vendor = fields.get("vendor_id", fields.get("CPU implementer", ""))
    name = fields.get("model name") or fields.get("Hardware") or platform.processor()
    return Chipset(_VENDORS.get(vendor, vendor), name or platform.machine())


def os_name() -> str:
    """The distribution, or the kernel's name."""
    try:
        return platform.freedesktop_os_release()["NAME"]
    except (OSError, KeyError):
        return platform.system()


def os_build() -> str:
    """Distribution version and kernel release: a change starts a new series."""
    try:
        release = platform.freedesktop_os_release()
        version = release.get("VERSION_ID", release.get("BUILD_ID", ""))
    except OSError:
        version = ""
    return f"{version} {platform.system()} {platform.release()}".strip()


def firmware() -> str:
    """The BIOS by version and date; empty where there is none to read, as in a container."""
    told = (_text(Path(f"/sys/class/dmi/id/bios_{each}")) for each in ("version", "date"))
    return " ".join(filter(None, told))


def context() -> Mapping[str, str]:
    """Load, clocks, heat, cores and memory now; what cannot be read says so."""
    return {
        "load_average_1min": f"{os.getloadavg()[0]:.2f}",
        "cpu_mhz": _cpu_mhz(),
        "cpu_governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
        or UNREADABLE,
        "temperature_c": _temperature_c(),
        "throttled_times": _throttled_times(),
        "affinity": ranges(os.sched_getaffinity(0)),
        "memory_available_bytes": str(psutil.virtual_memory().available),
        "boot_id": _text(Path("/proc/sys/kernel/random/boot_id")) or UNREADABLE,
        "power": _power(),
    }


def ranges(cores: Iterable[int]) -> str:
    """The numbers of cores as the kernel lists them, such as ``0-3,6``."""
    spans: list[list[int]] = []
    for core in sorted(cores):
        if spans and core == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], core]
        else:
            spans.append([core])
    return ",".join("-".join(map(str, span)) for span in spans)


def _throttled_times() -> str:
    """How often the cores slowed down for heat since the start; only some processors count it."""
    places = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [text for text in map(_text, places) if text.isdecimal()]
    return str(sum(map(int, counts))) if counts else UNREADABLE


def _cpu_mhz() -> str:
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return UNREADABLE
    return f"{frequency.current:.0f}" if frequency is not None else UNREADABLE


def _temperature_c() -> str:
    """The hottest sensor, or the word for there being none."""
    # Not there at all on systems without sensors.
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    readings = [each.current for group in sensors.values() for each in group]
    return f"{max(readings):.1f}" if readings else UNREADABLE


def _power() -> str:
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is None:
        return "no battery"
    return f"{'charging' if battery.power_plugged else 'discharging'} {battery.percent:.0f} %"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
