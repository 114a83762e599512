import json
from pathlib import Path

import pytest
from cli_lab import Run

from distillfarm.profiles.catalog import OVERLAY_VARIABLE, SHIPPED, shipped

CHIPSET = """
vendor: Acme
model: One
platform: android
reported_as: [acme1]
sources: {reported_as: the box}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site/chipsets").mkdir(parents=True)
    (tmp_path / "site/chipsets/acme1.yaml").write_text(CHIPSET)
    return tmp_path / "site"


def test_list_names_phones_and_chipsets_with_what_reaches_them(run_cli: Run) -> None:
    result = run_cli("profiles", "list")
    assert result.exit_code == 0
    assert "galaxy_s21_exynos" in result.stdout
    line = next(each for each in result.stdout.splitlines() if each.startswith("sm8650 "))
    assert "litert/qnn/npu" in line


def test_list_as_json_is_keyed_by_profile(run_cli: Run) -> None:
    listed = json.loads(run_cli("profiles", "list", "--json").stdout)
    assert listed["phones"]["pixel_7"]["chipset"] == "tensor_g2"
    assert "tensor_g2" in listed["chipsets"]


@pytest.mark.parametrize("name", ["pixel_8_pro", "Pixel 8 Pro", "google pixel 8 pro", "HUSKY"])
def test_show_takes_any_name_and_tells_facts_sources_and_quirks(run_cli: Run, name: str) -> None:
    shown = run_cli("profiles", "show", name).stdout
    assert "Google Tensor G3" in shown
    assert "https://developer.android.com/studio/profile/power-profiler" in shown
    assert "litert/gpu/gpu: A native LiteRT program" in shown
    assert "*/nnapi/*: NNAPI is deprecated" in shown


def test_show_of_a_chipset_tells_clusters_and_accelerators(run_cli: Run) -> None:
    shown = run_cli("profiles", "show", "s5e9925").stdout
    assert "3 x Cortex-A710, 2515 MHz" in shown
    assert "gpu Xclipse 920: litert/gpu/gpu" in shown


def test_show_of_an_unknown_name_suggests_one(run_cli: Run) -> None:
    result = run_cli("profiles", "show", "pixel_8_prow")
    assert result.exit_code == 1
    assert "did you mean pixel_8_pro" in result.stderr


def test_show_has_the_profiles_of_the_site(
    run_cli: Run, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OVERLAY_VARIABLE, str(site))
    shipped.cache_clear()
    try:
        assert "Acme One" in run_cli("profiles", "show", "acme1").stdout
    finally:
        shipped.cache_clear()


def test_check_passes_a_right_folder_and_says_what_it_replaces(run_cli: Run, site: Path) -> None:
    (site / "README.md").write_text("why we differ")
    (site / "chipsets/sm8650.yaml").write_bytes((SHIPPED / "chipsets/sm8650.yaml").read_bytes())
    result = run_cli("profiles", "check", str(site))
    assert result.exit_code == 0
    assert "2 chipsets (sm8650.yaml instead of the shipped)" in result.stdout


def test_check_tells_every_mistake_on_a_line_of_its_own(run_cli: Run, site: Path) -> None:
    (site / "phones").mkdir()
    (site / "chipsets/acme1.yaml").write_text(
        CHIPSET + "boards: [b]\nquirks: [{text: t, source: https://example.org/1, affects: [x]}]\n"
    )
    (site / "chipsets/broken.yaml").write_text("vendor: [")
    (site / "phones/lost.yaml").write_text(CHIPSET.replace("acme1", "L-1") + "chipset: nowhere\n")
    (site / "phones/typo.yml").write_text("")
    (site / "notes.txt").write_text("")
    result = run_cli("profiles", "check", str(site))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    for expected in (
        "acme1.yaml: no source for boards",
        "acme1.yaml: a quirk affects 'x'",
        "broken.yaml: ",
        "lost.yaml: no source for chipset",
        "phones/lost: there is no chipsets/nowhere.yaml",
        "typo.yml is never read; name it typo.yaml",
        "notes.txt is never read",
    ):
        assert len([line for line in lines if expected in line]) == 1, expected
    assert len(lines) == 7
    assert "mistakes: 7" in result.stderr


def test_check_of_no_folder_fails(run_cli: Run) -> None:
    result = run_cli("profiles", "check", "nowhere")
    assert result.exit_code == 1
    assert "nowhere is no folder" in result.stdout
