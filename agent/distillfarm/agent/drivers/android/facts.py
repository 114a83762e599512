"""What a phone is, read from the outputs of its own commands.

Every function is pure and takes the output as text. What the output does not tell is absent from
the answer (``None``, an empty text or an empty tuple), never guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from distillfarm.domain.hardware import Chipset, Cluster, DeviceInfo, Gpu, Platform

PROPERTIES_COMMAND = "getprop"
CLUSTERS_COMMAND = "grep -H . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq"
CORES_COMMAND = "cat /sys/devices/system/cpu/possible"
GPU_COMMAND = "dumpsys SurfaceFlinger | grep GLES:"
MEMORY_COMMAND = "cat /proc/meminfo"
# Qualcomm's QNN and its DSP channel, MediaTek's Neuron, Samsung's ENN, Google's Edge TPU.
NPU_COMMAND = "cd /vendor/lib64 && ls -d libQnn* libcdsprpc* libneuron* libenn* libedgetpu*"

# A value may run over several lines; the start of the next property ends a broken one.
_PROPERTY = re.compile(r"^\[([^\]\n]+)\]: \[((?:(?!\n\[).)*?)\]\r?$", re.MULTILINE | re.DOTALL)
_MAXIMUM = re.compile(r"/cpu(\d+)/cpufreq/cpuinfo_max_freq:(\d+)\s*$", re.MULTILINE)
# Vendors may have a comma in their names, as "Samsung Electronics Co., Ltd." has.
_GLES = re.compile(r"^\s*GLES: ([^\n]+?), ([^,\n]+), (OpenGL ES [^\n]*)$", re.MULTILINE)
_LIBRARY = re.compile(r"lib[\w.+-]+\.so")
_CHIPSET_KEYS = ("ro.soc.model", "ro.hardware.chipname", "ro.chipname", "ro.board.platform")
# The vendor's image with its drivers and libraries has a build of its own (Project Treble).
_FIRMWARE = {
    "vendor": "ro.vendor.build.fingerprint",
    "bootloader": "ro.bootloader",
    "baseband": "gsm.version.baseband",
}
# What Android's Build class says of a property that the maker left empty.
_UNTOLD = ("", "unknown")
_EMULATORS = ("goldfish", "ranchu", "cutf_cvm")


@dataclass(frozen=True)
class Identity:
    """What a phone says of itself; an empty text is what it does not say.

    ``fingerprint`` names the build: its change starts a new series of measurements. ``codename``,
    ``board`` and ``firmware`` are as in ``DeviceInfo``.
    """

    model: str
    manufacturer: str
    chipset: Chipset
    fingerprint: str
    android: str
    abis: tuple[str, ...]
    emulated: bool
    codename: str = ""
    board: str = ""
    firmware: str = ""


def properties(output: str) -> Mapping[str, str]:
    """The properties that ``getprop`` lists, by name."""
    return {name: value.strip() for name, value in _PROPERTY.findall(output)}


def identity(known: Mapping[str, str]) -> Identity:
    """Who the phone with these properties is."""
    told = {key: value for key, value in known.items() if value.lower() not in _UNTOLD}
    abis = told.get("ro.product.cpu.abilist", told.get("ro.product.cpu.abi", ""))
    return Identity(
        model=told.get("ro.product.model", ""),
        manufacturer=told.get("ro.product.manufacturer", ""),
        chipset=Chipset(
            told.get("ro.soc.manufacturer", ""),
            next((told[key] for key in _CHIPSET_KEYS if key in told), ""),
        ),
        fingerprint=told.get("ro.build.fingerprint", ""),
        android=told.get("ro.build.version.release", ""),
        abis=tuple(abi.strip() for abi in abis.split(",") if abi.strip()),
        emulated=_emulated(told),
        codename=told.get("ro.product.device", ""),
        board=told.get("ro.board.platform", ""),
        firmware="; ".join(f"{name} {told[key]}" for name, key in _FIRMWARE.items() if key in told),
    )


def clusters(output: str) -> tuple[Cluster, ...]:
    """The cores by their highest clock, the slowest first, from ``CLUSTERS_COMMAND``."""
    by_maximum: dict[int, list[int]] = {}
    for core, max_khz in _MAXIMUM.findall(output):
        by_maximum.setdefault(int(max_khz), []).append(int(core))
    return tuple(
        Cluster(max_khz, tuple(sorted(cores))) for max_khz, cores in sorted(by_maximum.items())
    )


def cores(output: str) -> int | None:
    """How many cores there are, sleeping ones too, from the kernel's list such as ``0-3,6-7``."""
    count = 0
    for part in output.strip().split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            return None
        count += int(match[2] or match[1]) - int(match[1]) + 1
    return count


def gpu(output: str) -> Gpu | None:
    """The graphics processor, from the ``GLES:`` line of ``dumpsys SurfaceFlinger``."""
    match = _GLES.search(output)
    return Gpu(match[1].strip(), match[2].strip(), match[3].strip()) if match else None


def npu_libraries(output: str) -> tuple[str, ...]:
    """The file names of libraries for neural units, from ``NPU_COMMAND``; complaints are not."""
    names = (line.strip().rpartition("/")[2] for line in output.splitlines())
    return tuple(sorted({name for name in names if _LIBRARY.fullmatch(name)}))


def memory_bytes(output: str) -> int | None:
    """The memory that the kernel has, from /proc/meminfo."""
    match = re.search(r"^MemTotal:\s+(\d+) kB\s*$", output, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def device_info(
    serial: str,
    told: Identity,
    core_count: int,
    memory: int,
    *,
    core_clusters: tuple[Cluster, ...] = (),
    graphics: Gpu | None = None,
    neural_libraries: tuple[str, ...] = (),
) -> DeviceInfo:
    """The phone as the farm knows it, before anything was tried on it.

    ``memory`` is in bytes.
    """
    return DeviceInfo(
        serial=serial,
        platform=Platform.ANDROID,
        model=told.model,
        chipset=told.chipset,
        os_name=f"Android {told.android}".strip(),
        os_build=told.fingerprint,
        cores=core_count,
        memory_bytes=memory,
        emulated=told.emulated,
        codename=told.codename,
        board=told.board,
        clusters=core_clusters,
        gpu=graphics,
        npu_libraries=neural_libraries,
        firmware=told.firmware,
    )


def _emulated(told: Mapping[str, str]) -> bool:
    return (
        "1" in (told.get("ro.kernel.qemu"), told.get("ro.boot.qemu"))
        or told.get("ro.hardware", "") in _EMULATORS
        or "emulator" in told.get("ro.build.characteristics", "").split(",")
    )
