"""go-ios, a client of iPhones in Go that shares no code with others: fetched once into a cache.

https://github.com/danielpaulus/go-ios publishes its programs as an npm package.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

_VERSION = "1.2.0"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_FETCH_S = 300.0


class NoGoIos(Exception):
    """Why there is no go-ios here: names what is missing."""


def ready_go_ios() -> Path:
    """The program.

    Raises:
        NoGoIos: it cannot be fetched, or is not made for this computer.
    """
    if platform.machine() not in _MACHINES:
        raise NoGoIos(f"go-ios has no program for {platform.machine()}")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "distillfarm" / f"go-ios-{_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "ios"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _fetch(program)
    return program


def _fetch(program: Path) -> None:
    if shutil.which("npm") is None:
        raise NoGoIos("no npm here: install the Debian package npm")
    name = f"go-ios-linux-{_MACHINES[platform.machine()]}"
    member = f"package/dist/{name}_{name.removeprefix('go-ios-').replace('-', '_')}/ios"
    with tempfile.TemporaryDirectory(dir=program.parent) as place:
        command = ["npm", "pack", f"go-ios@{_VERSION}", "--silent", "--pack-destination", place]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_FETCH_S, text=True)
        except subprocess.CalledProcessError as error:
            raise NoGoIos(f"npm does not have go-ios {_VERSION}: {error.stderr[-400:]}") from error
        except subprocess.TimeoutExpired as error:
            raise NoGoIos(f"npm did not fetch go-ios in {_FETCH_S:.0f} s") from error
        (packed,) = Path(place).glob("*.tgz")
        with tarfile.open(packed) as archive:
            archive.extract(member, place, filter="data")
        unpacked = Path(place) / member
        unpacked.chmod(0o755)
        unpacked.replace(program)
