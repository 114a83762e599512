"""Who runs and who uses the embedded farm of a state folder, by locks that die with their owner.

``farm.lock`` is held by the one process that runs a farm there and, by inheritance, by its
children until the last is gone. ``farm.users`` is shared by commands that use a farm which another
command started for itself, so that it does not end under them.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from distillfarm.domain.errors import AlreadyExists
from distillfarm.files import whole

_ORPHANS_END_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Farm:
    """A farm that runs: the process that owns it, where it serves, whether it has a worker."""

    pid: int
    address: str
    web_address: str = ""
    compresses: bool = True


def running_farm(state_dir: Path) -> Farm | None:
    """The healthy farm of this folder, or None."""
    pid = _owner(state_dir)
    try:
        farm = msgspec.json.decode((state_dir / "farm.json").read_bytes(), type=Farm)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return farm if farm.pid == pid else None


def starting(state_dir: Path) -> bool:
    """Whether somebody is about to run a farm there."""
    return _owner(state_dir) is not None and running_farm(state_dir) is None


def announce(state_dir: Path, farm: Farm) -> None:
    """Tell other commands where the farm serves."""
    whole.write(state_dir / "farm.json", msgspec.json.encode(farm))


@contextmanager
def ownership(state_dir: Path) -> Iterator[int]:
    """Be the one who runs a farm in this folder; gives the descriptor that children inherit.

    Children of an owner that was killed end within seconds; they are waited for.

    Raises:
        AlreadyExists: a live process runs one; the text names it.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state_dir / "farm.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock_as_owner(descriptor, state_dir)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        try:
            yield descriptor
        finally:
            (state_dir / "farm.json").unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextmanager
def usage(state_dir: Path) -> Iterator[None]:
    """Use the farm of this folder, if any; its temporary owner waits until nobody does."""
    if not state_dir.exists():
        yield
        return
    with (state_dir / "farm.users").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def unused(state_dir: Path) -> bool:
    """Whether no other command uses the farm of this folder."""
    with (state_dir / "farm.users").open("a") as file:
        return _try_lock(file.fileno())


def _lock_as_owner(descriptor: int, state_dir: Path) -> None:
    deadline_s = time.monotonic() + _ORPHANS_END_WITHIN_S
    while not _try_lock(descriptor):
        pid = _written_pid(state_dir)
        if psutil.pid_exists(pid) or time.monotonic() > deadline_s:
            farm = running_farm(state_dir)
            where = f" at {farm.address}" if farm else ""
            raise AlreadyExists(
                f"{state_dir}: process {pid} runs a farm there already{where}; "
                "use it, stop it, or choose another --state-dir"
            )
        time.sleep(_LOOK_EVERY_S)


def _owner(state_dir: Path) -> int | None:
    try:
        with (state_dir / "farm.lock").open() as file:
            if _try_lock(file.fileno(), fcntl.LOCK_SH):
                return None
    except FileNotFoundError:
        return None
    pid = _written_pid(state_dir)
    return pid if psutil.pid_exists(pid) else None


def _written_pid(state_dir: Path) -> int:
    text = (state_dir / "farm.lock").read_text()
    return int(text) if text.isdigit() else -1


def _try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
