"""Drops files from the kernel's page cache, and looks how much of them stayed there."""

import ctypes
import importlib.util
import mmap
import os
import shutil
from collections.abc import Sequence

_MAP_FAILED = ctypes.c_void_p(-1).value


def libraries(packages: Sequence[str]) -> list[str]:
    """The shared libraries of Python packages, found without importing these."""
    found = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            # Wheels keep the libraries that they brought along beside the package.
            for place in (folder, f"{folder}.libs"):
                for parent, _, names in os.walk(place):
                    found += [f"{parent}/{name}" for name in names if ".so" in name]
    return found


def drop(paths: Sequence[str]) -> float | None:
    """Drop the files' pages; the share (0..1) that stayed, None where the kernel does not tell.

    A page that some process has mapped stays, so another one that uses the same runtime keeps it.
    """
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not otherwise loaded here
            # Only pages that lie on the disk already can be dropped.
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return resident(paths)


def resident(paths: Sequence[str]) -> float | None:
    """The share (0..1) of the files' pages that is in memory now.

    None where it cannot be known: since Linux 5.2 ``mincore`` tells it only to who owns a file or
    may write it, and calls every page of another's file resident (commit 134fca9063ad).
    """
    flags: list[int] = []
    for path in paths:
        if not (os.stat(path).st_uid == os.geteuid() or os.access(path, os.W_OK)):  # noqa: PTH116
            return None
        try:
            flags += _resident_pages(path)
        except OSError:
            return None
    return sum(flags) / len(flags) if flags else None


def empty(folder: str) -> None:
    """Remove everything in a folder, which may not be there."""
    if os.path.isdir(folder):  # noqa: PTH112
        shutil.rmtree(folder)
    os.makedirs(folder)  # noqa: PTH103


def _resident_pages(path: str) -> list[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    with open(path, "rb") as file:  # noqa: PTH123
        size = os.fstat(file.fileno()).st_size
        if not size:
            return []
        length = ctypes.c_size_t(size)
        # Mapped but never touched, so that looking brings no page in. Python's own mmap gives the
        # address of writable memory only, which would count against the program's limit.
        address = libc.mmap(
            None, length, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0)
        )
    if address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap failed", path)
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    failed = libc.mincore(ctypes.c_void_p(address), length, pages)
    number = ctypes.get_errno()
    libc.munmap(ctypes.c_void_p(address), length)
    if failed:
        raise OSError(number, "mincore failed", path)
    # The other bits are reserved.
    return [each & 1 for each in pages]
