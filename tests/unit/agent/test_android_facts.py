"""What a phone is, from recorded outputs of real phones."""

from pathlib import Path

import pytest

from distillfarm.agent.drivers.android import facts
from distillfarm.domain.hardware import Chipset, Cluster, Gpu, Platform

GOLDEN = Path(__file__).parents[2] / "golden" / "android"


def recorded(name: str) -> str:
    return (GOLDEN / name).read_text()


def identity_of(name: str) -> facts.Identity:
    return facts.identity(facts.properties(recorded(name)))


@pytest.mark.parametrize(
    ("name", "manufacturer", "model", "chipset", "android"),
    [
        ("getprop_pixel8pro.txt", "Google", "Pixel 8 Pro", Chipset("Google", "Tensor G3"), "14"),
        (
            "getprop_xiaomi12pro_qcom.txt",
            "Xiaomi",
            "2201122G",
            Chipset("Qualcomm", "Snapdragon 8 Gen 1"),
            "",
        ),
        ("getprop_redmi_k40_gaming_mtk.txt", "Xiaomi", "M2101K9C", Chipset("", "MT6893"), "13"),
        (
            "getprop_galaxy_s24_exynos_no_ro_soc.txt",
            "Samsung",
            "SM-S928B",
            Chipset("", "exynos2400"),
            "",
        ),
    ],
)
def test_a_phone_says_who_it_is(
    name: str, manufacturer: str, model: str, chipset: Chipset, android: str
) -> None:
    told = identity_of(name)
    assert (told.manufacturer, told.model, told.chipset) == (manufacturer, model, chipset)
    assert told.android == android
    assert not told.emulated


def test_build_and_abis_are_told_only_where_the_phone_tells_them() -> None:
    told = identity_of("getprop_redmi_k40_gaming_mtk.txt")
    assert told.fingerprint == "Redmi/ares/ares:13/TKQ1.221114.001/V14.0.5.0:user/release-keys"
    assert told.abis == ("arm64-v8a",)
    assert identity_of("getprop_pixel8pro.txt").fingerprint == ""
    several = facts.identity({"ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a"})
    assert several.abis == ("arm64-v8a", "armeabi-v7a")


def test_firmware_is_what_is_updated_apart_from_the_build() -> None:
    told = facts.identity(
        {
            "ro.vendor.build.fingerprint": "google/husky/husky:14/AP1A/1:user/release-keys",
            "ro.bootloader": "ripcurrent-14.1",
            "gsm.version.baseband": "unknown",
        }
    )
    assert told.firmware == (
        "vendor google/husky/husky:14/AP1A/1:user/release-keys; bootloader ripcurrent-14.1"
    )
    assert facts.identity({}).firmware == ""


def test_the_chipset_comes_from_the_first_property_that_says_something() -> None:
    known = {
        "ro.soc.model": "unknown",
        "ro.hardware.chipname": "",
        "ro.chipname": "exynos2100",
        "ro.board.platform": "universal2100",
    }
    assert facts.identity(known).chipset == Chipset("", "exynos2100")
    assert facts.identity({}).chipset == Chipset("", "")


@pytest.mark.parametrize(
    "known",
    [
        {"ro.kernel.qemu": "1"},
        {"ro.boot.qemu": "1"},
        {"ro.hardware": "ranchu"},
        {"ro.build.characteristics": "nosdcard,emulator"},
    ],
)
def test_an_emulator_is_known_as_one(known: dict[str, str]) -> None:
    told = facts.identity(known)
    assert told.emulated
    assert facts.device_info("emulator-5554", told, 4, 2**31).emulated


def test_a_value_over_several_lines_is_whole_and_a_broken_one_harms_no_other() -> None:
    output = "[a.b]: [one\ntwo]\n[broken]: [no end\n[c.d]: [x]\r\nnonsense\n[e]: []\n"
    assert facts.properties(output) == {"a.b": "one\ntwo", "c.d": "x", "e": ""}
    assert facts.properties("error: closed") == {}


def test_cores_of_one_highest_clock_are_a_cluster() -> None:
    folder = "/sys/devices/system/cpu/cpu"
    clocks = [1803000] * 4 + [2348000] * 2 + [2850000] * 2
    lines = [
        f"{folder}{core}/cpufreq/cpuinfo_max_freq:{clock}\n" for core, clock in enumerate(clocks)
    ]
    # The shell sorts cpu10 before cpu2.
    found = facts.clusters("".join(reversed(lines)))
    assert found == (
        Cluster(1803000, (0, 1, 2, 3)),
        Cluster(2348000, (4, 5)),
        Cluster(2850000, (6, 7)),
    )
    assert [cluster.mask for cluster in found] == ["f", "30", "c0"]
    assert facts.clusters("grep: /sys/devices/system/cpu: Permission denied") == ()


@pytest.mark.parametrize(
    ("output", "count"), [("0-7\n", 8), ("0-3,6-7", 6), ("0", 1), ("", None), ("all", None)]
)
def test_sleeping_cores_count(output: str, count: int | None) -> None:
    assert facts.cores(output) == count


def test_the_gpu_is_told_with_its_driver() -> None:
    lines = recorded("surfaceflinger_gles_lines.txt").splitlines()
    adreno, _, mali = map(facts.gpu, lines[:3])
    assert adreno is not None
    assert (adreno.vendor, adreno.name) == ("Qualcomm", "Adreno (TM) 750")
    assert adreno.driver.startswith("OpenGL ES 3.2 V@0762.10 ")
    assert mali == Gpu(
        "ARM", "Mali-G78", "OpenGL ES 3.2 v1.r34p0-01eac0.a1b116bd871d46ef040e8feef9ed691e"
    )
    assert facts.gpu("GLES: (none)") is None
    assert facts.gpu("Can't find service: SurfaceFlinger") is None


def test_npu_libraries_are_files_not_complaints() -> None:
    output = "libQnnHtp.so\n/vendor/lib64/libcdsprpc.so\nls: libenn*: No such file or directory\n"
    assert facts.npu_libraries(output) == ("libQnnHtp.so", "libcdsprpc.so")


def test_memory_is_in_bytes() -> None:
    assert facts.memory_bytes("MemTotal:       11768412 kB\nMemFree: 1 kB\n") == 11768412 * 1024
    assert facts.memory_bytes("MemFree: 1 kB") is None


def test_the_farm_gets_a_phone_as_a_device() -> None:
    info = facts.device_info("R5CX", identity_of("getprop_redmi_k40_gaming_mtk.txt"), 8, 2**33)
    assert (info.platform, info.os_name, info.cores) == (Platform.ANDROID, "Android 13", 8)
    assert info.os_build.startswith("Redmi/ares/")
    assert not info.emulated


def test_a_vendor_with_a_comma_in_its_name_keeps_it() -> None:
    told = facts.gpu(
        "GLES: Samsung Electronics Co., Ltd., ANGLE (Samsung Xclipse 940), OpenGL ES 3.2"
    )
    assert told == Gpu(
        "Samsung Electronics Co., Ltd.", "ANGLE (Samsung Xclipse 940)", "OpenGL ES 3.2"
    )
