"""Our runner and the runtimes for stand-in phones, built and fetched once into a cache."""

import fcntl
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from distillfarm.agent.phone_runtimes import Flavour, RuntimeStore

ROOT = Path(__file__).parents[2]
FLAVOUR = Flavour.GLIBC_AARCH64
# The same versions as this environment's, so that a phone and this computer run the same code.
_PACKAGES = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
_RUNNER = "distillfarm-runner"


class NoPrograms(Exception):
    """Why a stand-in phone has nothing to run here."""


def ready_programs() -> Path:
    """The folder of a store with runner, ONNX Runtime and LiteRT, for ``AgentSettings``.

    Raises:
        NoPrograms: the compiler is not installed, or a package cannot be had.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise NoPrograms("ziglang is missing: pip install ziglang")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "distillfarm" / "phone-programs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store = RuntimeStore(folder / "runtimes")
        for name, package in _PACKAGES.items():
            if store.find(name, FLAVOUR, version(package)) is None:
                _distillfarm(store, "fetch", name, "--version", version(package))
        out = folder / "runner"
        _run(
            [
                *("make", "-s", "-C", str(ROOT / "agent/phone/android")),
                *(f"FLAVOUR={FLAVOUR}", f"PYTHON={sys.executable}", f"OUT={out}"),
            ]
        )
        # The same version with other content is what a developer makes with every edit.
        built = str(out / _RUNNER)
        _distillfarm(store, "add", _RUNNER, built, "--version", version("distillfarm"), "--replace")
    return folder / "runtimes"


def _distillfarm(store: RuntimeStore, verb: str, name: str, *rest: str) -> None:
    command = [sys.executable, "-m", "distillfarm.cli", "runtimes", verb, name, FLAVOUR, *rest]
    _run([*command, "--runtimes-dir", str(store.folder)])


def _run(command: Sequence[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        words = (run.stderr or run.stdout).strip().rpartition("\n")[2]
        raise NoPrograms(f"{' '.join(command[-6:])}: {words}")
