"""A model on the user's disk, file or folder, as one regular file that is safe to read."""

import os
import stat
import tarfile
from pathlib import Path

from distillfarm.domain.errors import InvalidRequest, ModelRejected
from distillfarm.sandbox.text import one_line

MAX_BYTES = 8 * 1024**3
MAX_FILES = 10_000


def model_file(path: Path, scratch: Path) -> Path:
    """``path`` itself if it is a regular file; for a folder the uncompressed tar of it.

    Opens nothing that blocks or has no end: no pipe, no device.

    Raises:
        InvalidRequest: there is no such path, or it may not be read.
        ModelRejected: it is empty, too large, or neither a regular file nor a folder.
    """
    shown = one_line(str(path), 200)
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return _packed(path, scratch, shown)
        if not stat.S_ISREG(found.st_mode):
            raise ModelRejected(f"{shown} is neither a file nor a folder")
        with path.open("rb"):
            pass
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise InvalidRequest(f"{shown} cannot be read: {reason}") from error
    if found.st_size == 0:
        raise ModelRejected(f"{shown} is empty")
    if found.st_size > MAX_BYTES:
        raise ModelRejected(f"{shown} has {found.st_size / 1e9:.1f} GB; at most 8 GB are read")
    return path


def _packed(folder: Path, scratch: Path, shown: str) -> Path:
    """The tar, the same bytes for the same folder; links and special files are refused."""
    total_bytes, members = 0, []
    for each in sorted(folder.rglob("*")):
        found = each.lstat()
        if stat.S_ISREG(found.st_mode):
            total_bytes += found.st_size
            members.append(each)
        elif not stat.S_ISDIR(found.st_mode):
            raise ModelRejected(f"{one_line(str(each), 200)} is a link or a device; copy it")
        if total_bytes > MAX_BYTES or len(members) > MAX_FILES:
            raise ModelRejected(f"{shown} is too large for a model: over {MAX_FILES} files or 8 GB")
    if not any(each.name == "saved_model.pb" or each.suffix == ".onnx" for each in members):
        raise ModelRejected(f"{shown} is a folder with neither saved_model.pb nor .onnx in it")
    packed = scratch / "model.tar"
    with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as archive:
        for each in members:
            entry = tarfile.TarInfo(str(each.relative_to(folder)))
            entry.size = each.stat().st_size
            with each.open("rb") as file:
                archive.addfile(entry, file)
    return packed
