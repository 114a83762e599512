"""A quirk reaches the targets that it affects, and only the devices that it is about."""

import pytest

from distillfarm.domain.hardware import Chipset, DeviceInfo, Platform, parse_target
from distillfarm.profiles.catalog import SHIPPED, Catalog, load
from distillfarm.profiles.schema import Quirk


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load(SHIPPED)


def device(model: str, platform: Platform = Platform.ANDROID) -> DeviceInfo:
    return DeviceInfo("s1", platform, model, Chipset("", ""), "os", "build", 8, 2**33)


PIXEL, S25 = device("Pixel 8 Pro"), device("SM-S931B")


@pytest.mark.parametrize(
    ("pattern", "target", "expected"),
    [
        ("litert/gpu/gpu", "litert/gpu/gpu", True),
        ("litert/gpu/gpu", "litert", False),
        ("*/nnapi/*", "onnxruntime/nnapi/npu", True),
        ("*/nnapi/*", "onnxruntime/qnn/npu", False),
        ("litert/*/npu", "litert/qnn/npu", True),
        ("litert/*/npu", "litert/qnn/gpu", False),
    ],
)
def test_a_pattern_reaches_its_targets(pattern: str, target: str, expected: bool) -> None:
    quirk = Quirk("odd", "https://example.org/1", (pattern,))
    assert quirk.reaches(parse_target(target)) is expected


def test_a_quirk_of_the_device_itself_reaches_every_target() -> None:
    assert Quirk("odd", "https://example.org/1").reaches(parse_target("litert"))


def test_platform_chipset_and_phone_all_tell_theirs(catalog: Catalog) -> None:
    found = catalog.quirks(PIXEL, parse_target("litert/gpu/gpu"))
    assert set(found) == {
        quirk
        for profile in (
            catalog.platforms["android"],
            catalog.chipsets["tensor_g3"],
            catalog.phones["pixel_8_pro"],
        )
        for quirk in profile.quirks
        if quirk.affects in ((), ("litert/gpu/gpu",))
    }
    assert any("runs on the CPU all the same" in quirk.text for quirk in found)


def test_a_silent_fall_back_to_the_cpu_is_told_where_it_can_happen(catalog: Catalog) -> None:
    told = catalog.quirks(S25, parse_target("onnxruntime/qnn/npu"))
    assert any("every node runs on the CPU" in quirk.text for quirk in told)
    assert not any("QNN" in quirk.text for quirk in catalog.quirks(S25, parse_target("litert")))
    assert not any("QNN" in quirk.text for quirk in catalog.quirks(PIXEL))


def test_an_unknown_phone_has_those_of_its_platform(catalog: Catalog) -> None:
    unknown = device("unheard of")
    assert catalog.quirks(unknown) == catalog.platforms["android"].quirks
    assert catalog.quirks(device("unheard of", Platform.HOST)) == ()
