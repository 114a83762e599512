"""The folder of programs and runtimes for phones: whole entries only, checked whenever used.

An entry lies at ``NAME/FLAVOUR/VERSION/`` with its manifest. It gets there by one rename; several
agents may read the folder while one command writes.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

from distillfarm.agent.phone_runtimes import records
from distillfarm.agent.phone_runtimes.catalog import Flavour
from distillfarm.agent.phone_runtimes.records import KeptFile, PhoneRuntime, Record
from distillfarm.domain.errors import (
    AlreadyExists,
    DigestMismatch,
    NoCapacity,
    NotFound,
    WrongState,
)

_LOCK = ".lock"
_SCRATCH = ".part-"
_PROGRAM_MODE, _TEXT_MODE = 0o555, 0o444
# Device, inode, size, and the two times; the last cannot be set by hand.
_Stamp = tuple[int, int, int, int, int]


class RuntimeStore:
    """Programs and libraries by name, flavour and version under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unchanged: dict[Path, _Stamp] = {}

    def find(self, name: str, flavour: Flavour, version: str = "") -> PhoneRuntime | None:
        """The newest version, or the one named; None where nothing was fetched or added.

        Reads whole files the first time, and later when something has touched them.

        Raises:
            DigestMismatch: a file is not what was kept.
            InvalidRequest: ``version`` is none.
        """
        place = self.folder / name / flavour
        chosen = _chosen(place, version)
        return None if chosen is None else self._checked(chosen)

    def entries(self) -> tuple[PhoneRuntime, ...]:
        """Everything, by its manifests alone.

        Raises:
            DigestMismatch: a manifest cannot be read.
        """
        return tuple(PhoneRuntime(records.read(folder), folder) for folder in self._folders())

    def spoiled(self) -> Iterator[str]:
        """Read every byte; what is not as it was kept, with the remedy."""
        self._unchanged.clear()
        for folder in self._folders():
            try:
                record = records.read(folder)
            except DigestMismatch as error:
                yield str(error)
                continue
            for each in (*record.files, *record.licences):
                try:
                    self._check(folder, each)
                except DigestMismatch as error:
                    yield str(error)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """Keep other writers out; gives a scratch folder on the same disk.

        Raises:
            WrongState: another command writes.
            NoCapacity: the disk was full inside the block.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WrongState(
                    f"another `distillfarm runtimes` writes to {self.folder}; wait for it to end"
                ) from error
            for left_over in self.folder.glob(f"{_SCRATCH}*"):
                shutil.rmtree(left_over)
            try:
                with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.folder) as scratch:
                    yield Path(scratch)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise NoCapacity(f"the disk of {self.folder} is full; make room there") from error

    def put(self, record: Record, folder: Path, *, replace: bool = False) -> PhoneRuntime:
        """Make the files in ``folder``, inside the scratch of ``writing``, the entry of ``record``.

        Raises:
            AlreadyExists: this version is there with other content, and not to be replaced.
        """
        target = self.folder / record.name / record.flavour / record.version
        if target.exists():
            there = self._whole(target)
            if there is not None and there.record.files == record.files:
                return there
            if not replace:
                raise AlreadyExists(
                    f"{record.name} {record.version} for {record.flavour} is there with other "
                    "content; name another --version, or --replace it"
                )
        records.write(record, folder)
        for path in folder.iterdir():
            is_program = path.name in {each.name for each in record.files}
            path.chmod(_PROGRAM_MODE if is_program else _TEXT_MODE)
        # Not the mode of temporary folders: agents of other users read here.
        folder.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(folder.with_name(f"{folder.name}-replaced"))
        folder.rename(target)
        return PhoneRuntime(record, target)

    def remove(self, name: str, flavour: Flavour, version: str) -> None:
        """Delete one version, spoiled or not.

        Raises:
            NotFound: it is not there.
            InvalidRequest: ``version`` is none.
        """
        target = _chosen(self.folder / name / flavour, version)
        if target is None:
            raise NotFound(f"no {name} {version} for {flavour} in {self.folder}")
        with self.writing() as scratch:
            target.rename(scratch / "removed")

    def versions(self, name: str, flavour: Flavour) -> tuple[str, ...]:
        """What is there, the newest last."""
        return _versions(self.folder / name / flavour)

    def _folders(self) -> Iterator[Path]:
        for place in sorted(self.folder.glob("[!.]*/*/")):
            for version in _versions(place):
                yield place / version

    def _checked(self, folder: Path) -> PhoneRuntime:
        record = records.read(folder)
        for each in (*record.files, *record.licences):
            self._check(folder, each)
        return PhoneRuntime(record, folder)

    def _whole(self, folder: Path) -> PhoneRuntime | None:
        """The entry in ``folder``; None where it was spoiled."""
        try:
            return self._checked(folder)
        except DigestMismatch:
            return None

    def _check(self, folder: Path, expected: KeptFile) -> None:
        path = folder / expected.name
        try:
            stamp = _stamp(path)
            if self._unchanged.get(path) == stamp:
                return
            found = records.kept(path)
        except OSError as error:
            raise DigestMismatch(
                f"{path} cannot be read: {error.strerror}; {records.remedy(folder)}"
            ) from error
        if found != expected:
            raise DigestMismatch(
                f"{path} is not what was kept: SHA-256 {found.sha256[:12]} instead of "
                f"{expected.sha256[:12]}; {records.remedy(folder)}"
            )
        self._unchanged[path] = stamp


def _chosen(place: Path, version: str) -> Path | None:
    """The folder of a version, however it is written, or of the newest where none is named."""
    wanted = records.release(version) if version else None
    found = [each for each in _versions(place) if wanted in (None, Version(each))]
    return place / found[-1] if found else None


def _versions(place: Path) -> tuple[str, ...]:
    found: list[Version] = []
    for folder in place.glob("*/"):
        # What else lies there is not ours.
        with contextlib.suppress(InvalidVersion):
            found.append(Version(folder.name))
    return tuple(str(each) for each in sorted(found))


def _stamp(path: Path) -> _Stamp:
    """What changes with any write to a file."""
    found = os.stat(path)  # noqa: PTH116 - a symbolic link counts as its target
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
