"""What a stand-in phone needs of this computer."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

# By program: the Debian package that brings it.
_PROGRAMS = {
    "adb": "adb",
    "apt-get": "apt",
    "cp": "coreutils",
    "dpkg-deb": "dpkg",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
_COMMAND_S = 60.0


class NoPhone(Exception):
    """Why no stand-in phone can be had here: names what is missing."""


def check() -> None:
    """Look for everything that does not have to be built.

    Raises:
        NoPhone: something is missing.
    """
    if os.geteuid() != 0:
        raise NoPhone("no root here: a phone's namespaces, mounts and network need it")
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            raise NoPhone(f"no {program} here: install the Debian package {package}")
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        raise NoPhone("no overlay file system in this kernel: load its module by modprobe overlay")


def run(command: Sequence[str | Path], timeout_s: float = _COMMAND_S) -> str:
    """The standard output of a command of this computer.

    Raises:
        NoPhone: it failed; with its own words.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPhone(f"{words[0]}: {error}") from error
    if done.returncode != 0:
        raise NoPhone(f"{' '.join(words)[:200]}: {done.stderr.strip()[-400:]}")
    return done.stdout
