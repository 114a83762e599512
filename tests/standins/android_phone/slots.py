"""A number for every phone on this computer: its network and its folder, for one at a time."""

import fcntl
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from android_phone.needs import NoPhone

_FOLDER = Path(tempfile.gettempdir()) / "distillfarm-phones"
_INDEXES = range(1, 255)


@dataclass(frozen=True)
class Slot:
    """A claimed number with a folder of its own."""

    index: int
    folder: Path
    lock: IO[str]

    def give_back(self) -> None:
        """Remove the folder and let others have the number."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


def claim(index: int | None = None) -> Slot:
    """The number ``index`` or the first free one, its folder empty, even after a crashed run.

    Raises:
        NoPhone: another phone has it.
    """
    _FOLDER.mkdir(parents=True, exist_ok=True)
    for each in _INDEXES if index is None else (index,):
        # The lock goes with the process that holds it, however that ends.
        lock = (_FOLDER / f"{each}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        folder = _FOLDER / str(each)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Slot(each, folder, lock)
    raise NoPhone(f"the number {index or 'of every phone'} is taken: stop a phone first")
