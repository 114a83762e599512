"""Which phones there are: recorded outputs of real ones, and what public sources say of them.

What no recording tells, the phone does not tell either.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

RECORDINGS = Path(__file__).parents[2] / "golden" / "android"
_PROPERTY = re.compile(r"^\[(.+)\]: \[(.*)\]$", re.MULTILINE)
# What is true of the stand-in itself, whichever phone it plays.
_OWN_PROPERTIES = {"ro.kernel.qemu": "1", "ro.product.cpu.abilist": "arm64-v8a"}
_GIB = 2**30


@dataclass(frozen=True)
class Cluster:
    """``count`` equal cores; ``part`` is Arm's number of their design, as /proc/cpuinfo has it."""

    part: int
    max_khz: int
    count: int


@dataclass(frozen=True)
class Zone:
    """A thermal zone of the kernel; ``scale`` is what it counts one °C as."""

    kind: str
    scale: int
    celsius: float


@dataclass(frozen=True)
class Identity:
    """A phone by its recordings, which are file names in ``RECORDINGS``.

    ``added`` are properties that every phone has and the recording was shortened by;
    ``corrected`` are those in which it cannot be right. ``thermal``, ``gpu`` and ``rails`` are
    None where nothing was recorded. ``current_now_ua`` likewise, in microamperes.
    """

    name: str
    properties_file: str
    battery: str
    clusters: tuple[Cluster, ...]
    zones: tuple[Zone, ...]
    npu_libraries: tuple[str, ...]
    memory_bytes: int
    thermal: str | None = None
    gpu: str | None = None
    rails: str | None = None
    current_now_ua: int | None = None
    added: Mapping[str, str] = field(default_factory=dict)
    corrected: Mapping[str, str] = field(default_factory=dict)

    @property
    def core_count(self) -> int:
        """How many cores there are."""
        return sum(cluster.count for cluster in self.clusters)

    def properties(self) -> dict[str, str]:
        """What ``getprop`` lists, by name."""
        recorded = listed(recording(self.properties_file))
        return {**recorded, **self.added, **self.corrected, **_OWN_PROPERTIES}


def listed(output: str) -> dict[str, str]:
    """The properties in an output of ``getprop``."""
    return dict(_PROPERTY.findall(output))


def recording(name: str) -> str:
    """A recorded output."""
    return (RECORDINGS / name).read_text()


# Clocks and cores are those of the device profiles, which name their sources; numbers of designs
# are those of util-linux, sys-utils/lscpu-arm.c.
_A55, _A78 = 0xD05, 0xD41
_A510, _A710, _X2 = 0xD46, 0xD47, 0xD48
_A715, _X3 = 0xD4D, 0xD4E
_A520, _A720, _X4 = 0xD80, 0xD81, 0xD82

_XIAOMI_12_PRO = Identity(
    name="xiaomi_12_pro",
    properties_file="getprop_xiaomi12pro_qcom.txt",
    battery="dumpsys_battery_oneplus7_discharging.txt",
    thermal="dumpsys_thermalservice_xiaomi13tpro_a16.txt",
    gpu="surfaceflinger_gles_adreno730_line.txt",
    current_now_ua=-412000,
    clusters=(Cluster(_A510, 1800000, 4), Cluster(_A710, 2500000, 3), Cluster(_X2, 3000000, 1)),
    zones=(Zone("cpu-0-0", 1000, 38.1), Zone("skin-msm-therm", 1000, 33.4)),
    npu_libraries=("libQnnHtp.so", "libQnnSystem.so", "libcdsprpc.so"),
    memory_bytes=12 * _GIB,
    added={"ro.build.fingerprint": "Xiaomi/zeus/zeus:14/STANDIN/1:user/release-keys"},
)
_REDMI_K40_GAMING = Identity(
    name="redmi_k40_gaming",
    properties_file="getprop_redmi_k40_gaming_mtk.txt",
    battery="dumpsys_battery_oneplus7_discharging.txt",
    # MT6893 is the Dimensity 1200: https://en.wikipedia.org/wiki/List_of_MediaTek_systems_on_chips
    clusters=(Cluster(_A55, 2000000, 4), Cluster(_A78, 2600000, 3), Cluster(_A78, 3000000, 1)),
    zones=(Zone("mtktscpu", 1000, 37.0), Zone("mtktsbattery", 1000, 29.4), Zone("mtktsAP", 1, 34)),
    npu_libraries=("libneuron_adapter.so",),
    memory_bytes=8 * _GIB,
)
_GALAXY_S24 = Identity(
    name="galaxy_s24",
    properties_file="getprop_galaxy_s24_exynos_no_ro_soc.txt",
    battery="dumpsys_battery_samsung_usb.txt",
    thermal="dumpsys_thermalservice_galaxya24_throttling.txt",
    clusters=(
        Cluster(_A520, 2000000, 4),
        Cluster(_A720, 2600000, 3),
        Cluster(_A720, 2900000, 2),
        Cluster(_X4, 3200000, 1),
    ),
    zones=(Zone("BIG", 10, 40.1), Zone("G3D", 10, 36.0), Zone("battery", 10, 30.9)),
    npu_libraries=("libenn_user.samsung_slsi.so",),
    memory_bytes=8 * _GIB,
    added={"ro.build.fingerprint": "samsung/e1sxeea/e1s:14/STANDIN/1:user/release-keys"},
    # The recording names the Ultra, SM-S928B, which is sold with Qualcomm's chipset only.
    corrected={
        "ro.product.model": "SM-S921B",
        "ro.product.device": "e1s",
        "ro.product.name": "e1sxeea",
    },
)
_PIXEL_8_PRO = Identity(
    name="pixel_8_pro",
    properties_file="getprop_pixel8pro.txt",
    battery="dumpsys_battery_oneplus7_discharging.txt",
    thermal="dumpsys_thermalservice_pixel_tensor_lines.txt",
    gpu="surfaceflinger_gles_mali_g715_line.txt",
    rails="dumpsys_powerstats_pixel_channels.txt",
    current_now_ua=-286250,
    clusters=(Cluster(_A510, 1700000, 4), Cluster(_A715, 2370000, 4), Cluster(_X3, 2910000, 1)),
    zones=(Zone("BIG", 1000, 26.0), Zone("VIRTUAL-SKIN", 1000, 24.8)),
    npu_libraries=("libedgetpu_util.so",),
    memory_bytes=12 * _GIB,
    added={"ro.build.fingerprint": "google/husky/husky:14/STANDIN/1:user/release-keys"},
)

IDENTITIES = {
    each.name: each for each in (_XIAOMI_12_PRO, _REDMI_K40_GAMING, _GALAXY_S24, _PIXEL_8_PRO)
}
