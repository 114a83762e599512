"""iPhones find their profiles by ProductType alone, from the A13 to the newest."""

import re
from dataclasses import replace

import pytest

from distillfarm.domain.hardware import Chipset, DeviceInfo, Platform, parse_target
from distillfarm.profiles import support
from distillfarm.profiles.catalog import SHIPPED, Catalog, load

ALL_CHIPSETS = (
    "a13",
    "a14",
    "a15",
    "a16",
    "a17_pro",
    "a18",
    "a18_pro",
    "a19",
    "a19_pro",
    "a20_pro",
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load(SHIPPED)


def iphone(product_type: str) -> DeviceInfo:
    return DeviceInfo(
        serial="00008110-000A",
        platform=Platform.IOS,
        model=product_type,
        chipset=Chipset("", ""),
        os_name="iOS 17.5",
        os_build="21F79",
        cores=6,
        memory_bytes=6 << 30,
    )


def test_every_chip_from_the_a13_to_the_newest_is_there_with_a_phone(catalog: Catalog) -> None:
    iphones = [each for each in catalog.phones.values() if each.platform is Platform.IOS]
    assert {each.chipset for each in iphones} == set(ALL_CHIPSETS)


def test_iphones_are_known_by_product_types_alone(catalog: Catalog) -> None:
    for phone in catalog.phones.values():
        if phone.platform is Platform.IOS:
            assert all(re.fullmatch(r"iPhone\d+,\d+", each) for each in phone.reported_as)


@pytest.mark.parametrize(
    ("product_type", "phone", "chipset"),
    [
        ("iPhone12,8", "Apple iPhone SE (2nd generation)", "Apple A13 Bionic"),
        ("iPhone14,7", "Apple iPhone 14", "Apple A15 Bionic"),
        ("iPhone15,2", "Apple iPhone 14 Pro", "Apple A16 Bionic"),
        ("iPhone17,1", "Apple iPhone 16 Pro", "Apple A18 Pro"),
        ("iPhone17,3", "Apple iPhone 16", "Apple A18"),
        # These two chips tell one ChipID, 0x8150: the product type alone tells them apart.
        ("iPhone18,1", "Apple iPhone 17 Pro", "Apple A19 Pro"),
        ("iPhone18,5", "Apple iPhone 17e", "Apple A19"),
        ("iPhone18,4", "Apple iPhone Air", "Apple A19 Pro"),
        ("iPhone19,2", "Apple iPhone 18 Pro", "Apple A20 Pro"),
    ],
)
def test_a_product_type_finds_phone_and_chipset(
    catalog: Catalog, product_type: str, phone: str, chipset: str
) -> None:
    info = iphone(product_type)
    assert str(catalog.phone(info)) == phone
    assert str(catalog.chipset(info)) == chipset


def test_an_unknown_iphone_has_no_profile_and_an_android_phone_of_that_name_neither(
    catalog: Catalog,
) -> None:
    assert catalog.phone(iphone("iPhone99,1")) is None
    android = replace(iphone("iPhone16,1"), platform=Platform.ANDROID)
    assert catalog.phone(android) is None


@pytest.mark.parametrize(
    "target", ["coreml/all/npu", "coreml/cpu_and_gpu/gpu", "onnxruntime/coreml/npu"]
)
def test_the_neural_engine_and_the_gpu_are_reached_through_core_ml(
    catalog: Catalog, target: str
) -> None:
    assert support.refusal(iphone("iPhone16,1"), parse_target(target), catalog) is None
    assert "no way known" in str(
        support.refusal(iphone("iPhone16,1"), parse_target("litert/qnn/npu"), catalog)
    )


def test_a_measurement_by_core_ml_is_told_that_nobody_knows_where_it_ran(catalog: Catalog) -> None:
    quirks = catalog.quirks(iphone("iPhone16,1"), parse_target("coreml/all/npu"))
    assert any("no way to ask" in each.text for each in quirks)
    assert not catalog.quirks(iphone("iPhone16,1"), parse_target("litert/xnnpack/cpu"))
