"""Every import contract catches a violation planted in a copy of the tree."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("protos", "device_profiles", "compression", "agent", "controller")
AGENT = "agent/distillfarm/agent"
CONTROLLER = "controller/distillfarm/controller"

PLANTED = [
    ("layers", "protos/distillfarm/domain/job.py", "import distillfarm.wire"),
    ("layers", f"{AGENT}/protocols.py", "import distillfarm.controller.settings"),
    ("layers", f"{CONTROLLER}/settings.py", "import distillfarm.agent.protocols"),
    ("layers", "compression/distillfarm/sandbox/limits.py", "import distillfarm.wire.status"),
    ("light-agent", f"{AGENT}/protocols.py", "import distillfarm.compression.compress"),
    ("light-agent", "controller/distillfarm/client/__init__.py", "import distillfarm.compression"),
    ("frameworks", "compression/distillfarm/compression/candidates.py", "import torch"),
    (
        "frameworks",
        f"{CONTROLLER}/settings.py",
        "import distillfarm.compression.predictors.torch",
    ),
    ("runtimes", f"{AGENT}/protocols.py", "import onnxruntime"),
    ("adb", f"{AGENT}/protocols.py", "import adbutils"),
    ("ios", f"{AGENT}/protocols.py", "import pymobiledevice3"),
    ("sql", f"{CONTROLLER}/readings.py", "import sqlmodel"),
    ("sql", "controller/distillfarm/cli/options.py", "import sqlalchemy"),
    ("generated", f"{CONTROLLER}/readings.py", "from distillfarm.wire.v1 import job_pb2"),
    ("pure", "protos/distillfarm/domain/pareto.py", "import time"),
    ("pure", "protos/distillfarm/statistics/__init__.py", "import random"),
    ("pure", f"{CONTROLLER}/scheduling/policy.py", "import datetime"),
    ("pure", f"{CONTROLLER}/search/__init__.py", "import time"),
    ("pure", "compression/distillfarm/compression/samplers/__init__.py", "import random"),
]


def contracts() -> dict[str, str]:
    """The contracts' names by id."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {each["id"]: each["name"] for each in settings["tool"]["importlinter"]["contracts"]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source that may be spoilt."""
    not_source = shutil.ignore_patterns("__pycache__", "*.npz")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=not_source)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(tree / folder) for folder in FOLDERS)
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tree_keeps_every_contract(tree: Path) -> None:
    run = lint(tree)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"Contracts: {len(contracts())} kept, 0 broken" in run.stdout


def test_a_violation_is_planted_for_every_contract() -> None:
    assert {contract for contract, _, _ in PLANTED} == set(contracts())


@pytest.mark.parametrize(("contract", "path", "line"), PLANTED)
def test_a_planted_violation_is_caught_by_its_contract(
    tree: Path, contract: str, path: str, line: str
) -> None:
    with (tree / path).open("a") as module:
        module.write(f"\n{line}\n")
    run = lint(tree, "--contract", contract)
    assert run.returncode == 1, run.stdout + run.stderr
    broken = run.stdout.partition("Broken contracts")[2]
    assert contracts()[contract] in broken
    assert line.split()[1].partition(".")[0] in broken
