"""Files that are never seen half written."""

import os
from pathlib import Path

PARTIAL = ".part"
PRIVATE = 0o600
_AS_UMASK_ALLOWS = 0o666


def write(path: Path, content: bytes, mode: int = _AS_UMASK_ALLOWS) -> None:
    """Put ``content`` in place of what ``path`` holds; on disk when this returns.

    Whoever reads ``path`` meanwhile, or after a crash at any point, finds the old or the new,
    whole. What a crash leaves beside it is hidden and ends with ``PARTIAL``. Missing folders are
    made. ``mode`` is what a new file allows before the umask takes away from it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_names(path.parent)


def sync_names(folder: Path) -> None:
    """Have on disk which files ``folder`` holds, after one was renamed in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
