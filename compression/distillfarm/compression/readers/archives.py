"""Archives from strangers: looked at before anything is inflated, unpacked only inside a folder."""

import shutil
import tarfile
import zipfile
from pathlib import Path

from distillfarm.domain.errors import ModelRejected

MAX_MEMBERS = 100_000
MAX_INFLATED_BYTES = 8 * 1024**3
# Weights hardly shrink: honest archives are stored or packed by less than ten.
_MAX_INFLATION, _SMALL_BYTES = 100, 64 * 1024**2


def members(path: Path) -> list[zipfile.ZipInfo]:
    """The table of contents of a zip that is no bomb.

    Raises:
        ModelRejected: a damaged archive, or one that inflates out of proportion.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelRejected(f"the zip archive is damaged: {error}") from error
    inflated_bytes = sum(each.file_size for each in found)
    allowed_bytes = max(_SMALL_BYTES, _MAX_INFLATION * path.stat().st_size)
    if len(found) > MAX_MEMBERS or inflated_bytes > min(allowed_bytes, MAX_INFLATED_BYTES):
        raise ModelRejected(
            f"the zip archive of {path.stat().st_size / 1e6:.1f} MB would inflate to"
            f" {inflated_bytes / 1e6:.0f} MB in {len(found)} files; it looks like a zip bomb"
        )
    return found


def member(path: Path, name: str) -> bytes:
    """One file out of a zip that ``members`` has found sound.

    Raises:
        ModelRejected: it is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise ModelRejected(f"{name} in the zip archive is damaged: {error}") from error


def rewrite(path: Path, target: Path) -> None:
    """Write the archive anew as Python reads it, unpacked and checked against its checksums.

    Two readers of one zip can be made to see different files; of this one they cannot.

    Raises:
        ModelRejected: the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
            for each in old.infolist():
                entry = zipfile.ZipInfo(each.filename, (1980, 1, 1, 0, 0, 0))
                with old.open(each) as source, new.open(entry, "w") as sink:
                    shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as error:
        raise ModelRejected(f"the zip archive is damaged: {error}") from error


def unpack_tar(path: Path, folder: Path) -> None:
    """Unpack an uncompressed tar into ``folder``; links and paths that lead out are refused.

    Raises:
        ModelRejected: a damaged or hostile archive.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            found = archive.getmembers()
            if len(found) > MAX_MEMBERS or sum(each.size for each in found) > MAX_INFLATED_BYTES:
                raise ModelRejected(f"the tar archive is too large: {len(found)} files")
            strange = [each.name for each in found if not (each.isfile() or each.isdir())]
            if strange:
                raise ModelRejected(f"{strange[0]} in the folder is a link or a device; copy it")
            archive.extractall(folder, found, filter="data")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ModelRejected(f"the tar archive is damaged or hostile: {error}") from error
