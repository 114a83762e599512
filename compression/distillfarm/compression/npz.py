"""Reads a stranger's ``.npz``: what it holds by its headers, then numbers alone, within limits."""

import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from distillfarm.domain.errors import InvalidRequest
from distillfarm.sandbox.text import one_line

Array = NDArray[np.generic]

MAX_BYTES = 8 * 1024**3


@dataclass(frozen=True)
class Header:
    """What an array is, known without reading it."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def size_bytes(self) -> int:
        """Its bytes once inflated."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_headers(path: Path) -> dict[str, Header]:
    """Every array by its name, none of them inflated.

    Raises:
        InvalidRequest: it is no .npz, or an array of it holds objects or no samples.
    """
    headers: dict[str, Header] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                with archive.open(entry) as member:
                    header = _header(member)
                if header.dtype.hasobject:
                    raise InvalidRequest(
                        f"data: array {one_line(name)} holds Python objects, which are never read;"
                        " save numbers"
                    )
                if not header.shape:
                    raise InvalidRequest(
                        f"data: array {one_line(name)} is a single number, not samples"
                    )
                headers[name] = header
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise InvalidRequest(f"data: not a readable .npz: {error}") from error
    return headers


def read_arrays(
    path: Path, headers: Mapping[str, Header], names: Iterable[str]
) -> dict[str, Array]:
    """The arrays ``names``, if they are not too large together.

    Raises:
        InvalidRequest: they are, or their bytes are damaged.
    """
    names = tuple(names)
    wanted = sum(headers[name].size_bytes for name in names)
    if wanted > MAX_BYTES:
        raise InvalidRequest(
            f"data: {wanted / 1e9:.1f} GB of arrays, at most {MAX_BYTES / 1e9:.1f} GB are read;"
            " give fewer samples"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidRequest(f"data: cannot be read: {error}") from error


def _header(member: IO[bytes]) -> Header:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    return Header(shape, dtype)
