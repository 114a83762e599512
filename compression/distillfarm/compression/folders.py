"""Model formats that are folders, as one tar whose bytes depend on their content alone."""

import tarfile
from pathlib import Path


def pack(folder: Path, path: Path) -> None:
    """Write the tar of ``folder``, whose name the entries begin with."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for each in sorted(folder.rglob("*")):
            archive.add(each, each.relative_to(folder.parent), recursive=False, filter=_bare)


def _bare(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without owners and times."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry
