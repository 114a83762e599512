"""What comes with distillfarm is complete, sourced, and finds every recorded phone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from distillfarm.agent.drivers.android import facts
from distillfarm.domain.hardware import DeviceInfo, Platform
from distillfarm.profiles.catalog import SHIPPED, Catalog, load
from distillfarm.profiles.schema import ChipsetProfile, PhoneProfile

GOLDEN = Path(__file__).parents[2] / "golden" / "android"
CHIPSETS = {
    *("sm8250", "sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "sm7325"),
    *("tensor_g1", "tensor_g2", "tensor_g3", "tensor_g4"),
    *("exynos2100", "exynos2200", "exynos2400"),
    *("mt6893", "mt6983", "mt6985", "mt6989", "mt6789"),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load(SHIPPED)


def recorded(name: str) -> DeviceInfo:
    output = (GOLDEN / f"getprop_{name}.txt").read_text()
    told = facts.identity(facts.properties(output))
    return facts.device_info("serial", told, 8, 8 << 30)


def phones_and_chipsets(catalog: Catalog) -> Iterator[PhoneProfile | ChipsetProfile]:
    yield from catalog.phones.values()
    yield from catalog.chipsets.values()


def test_every_shipped_file_reads_and_every_chipset_is_used(catalog: Catalog) -> None:
    assert {phone.chipset for phone in catalog.phones.values()} == set(catalog.chipsets)


def test_the_current_and_common_phones_are_there(catalog: Catalog) -> None:
    for profiles, least in ((catalog.phones, 24), (catalog.chipsets, 14)):
        assert sum(each.platform is Platform.ANDROID for each in profiles.values()) >= least
    assert set(catalog.chipsets) >= CHIPSETS
    assert catalog.phones["galaxy_s21_exynos"].chipset == "exynos2100"
    assert catalog.phones["galaxy_s21_snapdragon"].chipset == "sm8350"
    assert catalog.phones["pixel_7"].chipset == "tensor_g2"


def test_every_fact_of_a_phone_names_a_public_page_or_a_recording(catalog: Catalog) -> None:
    for profile in phones_and_chipsets(catalog):
        for fact, source in profile.sources.items():
            if profile.platform is not Platform.HOST:
                assert re.search(r"https://|of a (Xiaomi|Galaxy)", source), f"{profile}: {fact}"


def test_clusters_add_up_to_a_phone(catalog: Catalog) -> None:
    for chipset in catalog.chipsets.values():
        if chipset.clusters:
            fewest, most = (6, 6) if chipset.platform is Platform.IOS else (8, 10)
            assert fewest <= sum(each.cores for each in chipset.clusters) <= most, str(chipset)
            assert all(1_000 <= each.max_mhz <= 5_000 for each in chipset.clusters), str(chipset)


@pytest.mark.parametrize(
    ("recording", "phone", "chipset"),
    [
        ("pixel8pro", "Google Pixel 8 Pro", "Google Tensor G3"),
        ("xiaomi12pro_qcom", "Xiaomi 12 Pro", "Qualcomm Snapdragon 8 Gen 1"),
        # It tells the model number of another phone; codename and chipset agree on this one.
        (
            "redmi_k40_gaming_mtk",
            "Xiaomi Redmi K40 Gaming (POCO F3 GT)",
            "MediaTek Dimensity 1200",
        ),
        # It tells an S24 Ultra with an Exynos, which was never sold: the chipset stands, the
        # phone with a Snapdragon does not.
        ("galaxy_s24_exynos_no_ro_soc", "None", "Samsung Exynos 2400"),
    ],
)
def test_a_recorded_phone_finds_its_profiles(
    catalog: Catalog, recording: str, phone: str, chipset: str
) -> None:
    info = recorded(recording)
    assert str(catalog.phone(info)) == phone
    assert str(catalog.chipset(info)) == chipset


def test_no_recording_was_left_out() -> None:
    assert len([*GOLDEN.glob("getprop_*.txt")]) == 4
