"""What a binary says of itself: machine, C library, what it exports."""

import struct
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection
from elftools.elf.segments import InterpSegment

from distillfarm.domain.errors import InvalidRequest

# A broken file may claim four thousand million of anything; LiteRT exports 400 symbols.
_MOST, _MOST_VERSIONS = 100_000, 100


@dataclass(frozen=True)
class Elf:
    """The headers of one ELF file.

    ``machine`` is named as in elf.h, such as ``EM_AARCH64``. ``fixed`` programs run at one address
    only. ``interpreter`` is the loader that a program asks for. ``versions`` are those that its
    symbols carry.
    """

    machine: str
    bits: int
    fixed: bool
    program: bool
    interpreter: str
    needed: tuple[str, ...]
    exports: frozenset[str]
    versions: tuple[str, ...]


def read(path: Path) -> Elf:
    """The headers of ``path``.

    Raises:
        InvalidRequest: it is no ELF file, or a broken one.
    """
    try:
        with path.open("rb") as file:
            return _read(ELFFile(file))
    except ELFError as error:
        raise InvalidRequest(
            f"{path.name} is no program or library for Linux or Android: {error or 'no ELF file'}"
        ) from error
    # What pyelftools raises beside its own when offsets in a broken file lead nowhere.
    except (
        AssertionError,
        AttributeError,
        LookupError,
        OSError,
        OverflowError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise InvalidRequest(f"{path.name} is a broken ELF file: {error!r}") from error


def _read(elf: ELFFile) -> Elf:
    interpreter = ""
    needed: list[str] = []
    exports: set[str] = set()
    for segment in islice(elf.iter_segments(), _MOST):
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            tags = islice(segment.iter_tags("DT_NEEDED"), _MOST)
            needed += [str(tag.needed) for tag in tags]  # type: ignore[attr-defined]
            exports |= {
                symbol.name
                for symbol in islice(segment.iter_symbols(), _MOST)
                if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
            }
    fixed = elf["e_type"] == "ET_EXEC"
    return Elf(
        machine=str(elf["e_machine"]),
        bits=elf.elfclass if elf.little_endian else 0,
        fixed=fixed,
        # A library has no place to begin.
        program=fixed or (elf["e_type"] == "ET_DYN" and elf["e_entry"] != 0),
        interpreter=interpreter,
        needed=tuple(needed),
        exports=frozenset(exports),
        versions=tuple(_versions(elf)),
    )


def _versions(elf: ELFFile) -> list[str]:
    return [
        auxiliary.name
        for section in islice(elf.iter_sections(), _MOST)
        if isinstance(section, GNUVerDefSection)
        for _, auxiliaries in islice(section.iter_versions(), _MOST_VERSIONS)
        for auxiliary in islice(auxiliaries, _MOST_VERSIONS)
    ]
