"""Profiles are read strictly, every fact has a source, and a device finds its own."""

from pathlib import Path

import pytest

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Chipset, DeviceInfo, Platform
from distillfarm.profiles.catalog import OVERLAY_VARIABLE, SHIPPED, load, shipped

CHIPSET = """
vendor: Acme
model: One
platform: android
reported_as: [acme1]
clusters: [{core: A1, cores: 8, max_mhz: 1000}]
sources: {reported_as: the box, clusters: the box}
"""
PHONE = """
vendor: Acme
model: Phone
platform: android
reported_as: [AP-1]
chipset: acme1
sources: {reported_as: the box, chipset: the box}
"""


def device(model: str = "", chipset: str = "", platform: Platform = Platform.ANDROID) -> DeviceInfo:
    return DeviceInfo("s1", platform, model, Chipset("", chipset), "os", "build", 8, 2**33)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "chipsets").mkdir()
    (tmp_path / "phones").mkdir()
    (tmp_path / "chipsets/acme1.yaml").write_text(CHIPSET)
    (tmp_path / "phones/acme_phone.yaml").write_text(PHONE)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "chipset", "expected"),
    [
        ("Pixel 8 Pro", "Tensor G3", "Google Tensor G3"),
        ("2201122G", "Snapdragon 8 Gen 1", "Qualcomm Snapdragon 8 Gen 1"),
        ("2201122g", "", "Qualcomm Snapdragon 8 Gen 1"),
        ("SM-S921B", "exynos2400", "Samsung Exynos 2400"),
        ("a phone of tomorrow", "sm8450", "Qualcomm Snapdragon 8 Gen 1"),
    ],
)
def test_a_device_finds_its_chipset_by_what_it_tells(
    model: str, chipset: str, expected: str
) -> None:
    assert str(load(SHIPPED).chipset(device(model, chipset))) == expected


def test_an_unknown_phone_has_no_profile_but_every_computer_has_one() -> None:
    catalog = load(SHIPPED)
    assert catalog.phone(device("unheard of", "unheard of")) is None
    assert catalog.chipset(device("unheard of", "unheard of")) is None
    computer = device("x", "EPYC", Platform.HOST)
    assert str(catalog.phone(computer)) == "Any computer"
    assert str(catalog.chipset(computer)) == "Any computer"


def test_the_site_overlay_adds_and_replaces(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = (SHIPPED / "chipsets/tensor_g3.yaml").read_text().replace("Mali-G715", "Mended")
    (site / "chipsets/tensor_g3.yaml").write_text(replaced)
    monkeypatch.setenv(OVERLAY_VARIABLE, str(site))
    shipped.cache_clear()
    try:
        catalog = shipped()
    finally:
        shipped.cache_clear()
    assert str(catalog.phone(device("AP-1"))) == "Acme Phone"
    tensor = catalog.chipset(device("Pixel 8 Pro"))
    assert tensor is not None
    assert tensor.accelerators[0].name == "Mended"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("sources: {reported_as: the box, ", "sources: {", "no source for reported_as"),
        ("clusters: the box}", "clusters: x, accelerators: y}", "source for accelerators"),
        ("cores: 8", "cores: eight", r"Expected `int`, got `str` - at `\$.clusters\[0\].cores`"),
        ("cores: 8", "cores: 0", "cores"),
        ("vendor: Acme", "vendro: Acme", "vendro"),
        ("platform: android", "platform: amiga", "amiga"),
        ("reported_as: [acme1]", "reported_as: []", "reported_as"),
        ("vendor: Acme", "vendor: [", "acme1.yaml"),
        (
            "clusters: [",
            "accelerators: [{name: G, unit: gpu, targets: [litert/qnn/npu]}]\nclusters: [",
            "no source for accelerators",
        ),
    ],
)
def test_a_wrong_profile_is_refused_with_file_and_field(
    site: Path, before: str, after: str, message: str
) -> None:
    assert before in CHIPSET
    (site / "chipsets/acme1.yaml").write_text(CHIPSET.replace(before, after, 1))
    with pytest.raises(InvalidRequest, match=message) as caught:
        load(site)
    assert "acme1.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "message"), [("litert/qnn/npu", "not for the gpu"), ("abacus", "unknown|'abacus'")]
)
def test_a_target_that_does_not_fit_its_accelerator_is_refused(
    site: Path, target: str, message: str
) -> None:
    text = CHIPSET.replace("the box}", "the box, accelerators: the box}") + (
        f"accelerators: [{{name: G, unit: gpu, targets: [{target}]}}]\n"
    )
    (site / "chipsets/acme1.yaml").write_text(text)
    with pytest.raises(InvalidRequest, match=message):
        load(site)


def test_a_phone_with_an_unknown_chipset_is_refused(site: Path) -> None:
    (site / "phones/acme_phone.yaml").write_text(PHONE.replace("chipset: acme1", "chipset: none"))
    with pytest.raises(InvalidRequest, match=r"no chipsets/none\.yaml"):
        load(site)


def test_two_profiles_for_one_name_are_refused(site: Path) -> None:
    (site / "chipsets/acme2.yaml").write_text(CHIPSET.replace("acme1", "ACME1"))
    with pytest.raises(InvalidRequest, match="both claim 'ACME1'"):
        load(site)


def test_two_phones_with_one_codename_are_refused(site: Path) -> None:
    second = PHONE.replace("AP-1", "AP-2")
    for name, text in (("acme_phone", PHONE), ("acme_phone_2", second)):
        (site / f"phones/{name}.yaml").write_text(
            text.replace("sources: {", "codenames: [rocket]\nsources: {codenames: the box, ")
        )
    with pytest.raises(InvalidRequest, match="both claim 'rocket'"):
        load(site)


def test_several_mistakes_are_counted_and_the_way_to_all_is_told(site: Path) -> None:
    (site / "chipsets/acme2.yaml").write_text("vendor: [")
    (site / "phones/acme_phone.yaml").write_text(PHONE.replace("chipset: acme1", "chipset: none"))
    with pytest.raises(InvalidRequest, match=r"acme2\.yaml.*1 more; distillfarm profiles check"):
        load(site)


@pytest.mark.parametrize(
    ("quirk", "message"),
    [
        ("{text: Odd., source: hearsay}", "source|regex"),
        ("{text: Odd., source: https://example.org/1, affects: [gpu]}", "'gpu'; write RUNTIME"),
        ("{text: Odd., source: https://example.org/1, affects: [abacus/*/cpu]}", "abacus"),
        ("{source: https://example.org/1}", "text"),
    ],
)
def test_a_quirk_needs_a_text_a_public_page_and_target_patterns(
    site: Path, quirk: str, message: str
) -> None:
    (site / "chipsets/acme1.yaml").write_text(CHIPSET + f"quirks: [{quirk}]\n")
    with pytest.raises(InvalidRequest, match=message):
        load(site)


def test_a_missing_overlay_folder_is_refused_with_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidRequest, match="no folder"):
        load(tmp_path / "nowhere")
    monkeypatch.setenv(OVERLAY_VARIABLE, str(tmp_path / "nowhere"))
    shipped.cache_clear()
    with pytest.raises(InvalidRequest, match=f"mend {OVERLAY_VARIABLE}"):
        shipped()
