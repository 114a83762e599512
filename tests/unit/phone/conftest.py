"""The native runner and a stand-in for TensorFlow Lite's library, each built once."""

import fcntl
import platform
import subprocess
import sys
from pathlib import Path

import native_runner
import pytest


def _shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


def _need_compiler() -> None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the native runner is tested as a program of 64-bit x86 Linux")
    pytest.importorskip("ziglang", reason="ziglang is not installed: pip install ziglang")


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The native runner of this computer."""
    _need_compiler()
    return native_runner.build(_shared(tmp_path_factory, worker_id) / "native_runner")


@pytest.fixture(scope="session")
def tflite(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A library with TensorFlow Lite's C API that needs no model and no delegate of its own."""
    _need_compiler()
    shared = _shared(tmp_path_factory, worker_id)
    library = shared / "libtensorflowlite_c.so"
    source = Path(native_runner.__file__).with_name("tensorflowlite_c.c")
    with (shared / "tflite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            target = ["-target", "x86_64-linux-gnu.2.28", "-shared", "-fPIC"]
            compile_c = [sys.executable, "-m", "ziglang", "cc", *target, "-O1", str(source)]
            subprocess.run([*compile_c, "-o", library], check=True, timeout=240)
    return library
