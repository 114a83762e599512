"""The pinned environment is what the README says: one known conflict, everything else at peace."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

# The converter's chat-model and compiler-writing parts, which converting does not import.
KNOWN = {
    ("litert-torch", name)
    for name in (
        "fire",
        "jaxtyping",
        "kagglehub",
        "multipledispatch",
        "transformers",
    )
} | {("litert-converter", name) for name in ("lark", "xdsl")}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): str(each.specifier) for each in requirements}


def test_pip_check_complains_about_the_converter_and_nothing_else() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    complaints = run.stdout.strip().splitlines()
    found = {
        (match[1], match[2])
        for line in complaints
        if (match := re.fullmatch(r"(\S+) \S+ requires (\S+), which is not installed\.", line))
    }
    assert found == KNOWN, run.stdout
    assert len(complaints) == len(KNOWN), run.stdout


@pytest.mark.slow
def test_the_converter_works_without_what_pip_misses() -> None:
    code = "import litert_torch, sys; assert 'xdsl' not in sys.modules; litert_torch.convert"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    # This one stands for iPhones, which neither the demo nor the tests have.
    groups = [optional[extra] for extra in optional.keys() - {"ios"}]
    wanted = {
        canonicalize_name(Requirement(text).name)
        for group in [project["dependencies"], *groups]
        for text in group
    }
    assert wanted - pins().keys() == set()


def test_pins_are_exact_and_name_no_place() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert all(re.fullmatch(r"==[\w.!]+", pin) for pin in pins().values())
    assert not re.search(r"@|file:|://|\+cpu", text)


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "ai-edge-litert", "grpcio", "dbos"])
def test_the_environment_has_the_pinned_version(name: str) -> None:
    assert f"=={version(name).partition('+')[0]}" == pins()[name]
