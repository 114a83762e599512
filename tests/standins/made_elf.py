"""Small ELF files that say whatever a test wants of machine, loader, libraries and symbols."""

import struct
from dataclasses import dataclass

AARCH64, X86_64, ARM = 183, 62, 40
BIONIC_LOADER, GLIBC_LOADER = "/system/bin/linker64", "/lib/ld-linux-aarch64.so.1"
_EXEC, _DYN = 2, 3
_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NULL, _NEEDED, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT = 0, 1, 4, 5, 6, 10, 11
_SHT_STRTAB, _SHT_VERDEF = 3, 0x6FFFFFFD
_GLOBAL_FUNCTION = 0x12
_HEADER_BYTES, _SEGMENT_BYTES, _SECTION_BYTES = 64, 56, 64


@dataclass(frozen=True)
class Made:
    """What the file says; ``imports`` are symbols that it needs, ``version`` marks its own."""

    machine: int = AARCH64
    needed: tuple[str, ...] = ("libc.so",)
    exports: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    loader: str = ""
    entry: int = 0
    fixed: bool = False
    version: str = ""


def library(*exports: str, glibc: bool = False, machine: int = AARCH64, version: str = "") -> bytes:
    """A shared library."""
    needed = ("libc.so.6",) if glibc else ("libc.so",)
    return content(Made(machine, needed, exports, version=version))


def program(loader: str = BIONIC_LOADER, machine: int = AARCH64, *, fixed: bool = False) -> bytes:
    """A program, position-independent unless ``fixed``."""
    needed = ("libc.so" if loader == BIONIC_LOADER else "libc.so.6",)
    return content(Made(machine, needed, loader=loader, entry=0x1000, fixed=fixed))


def content(made: Made) -> bytes:
    """The file: headers, then strings, symbols, hash table, dynamic section, loader, versions."""
    names = ("", *made.needed, *made.exports, *made.imports, made.version)
    strings = b"".join(name.encode() + b"\0" for name in names)
    where = {name: strings.index(name.encode() + b"\0") if name else 0 for name in names}
    symbols = bytes(24)
    for number, name in enumerate((*made.exports, *made.imports)):
        section = 1 if number < len(made.exports) else 0
        symbols += struct.pack("<IBBHQQ", where[name], _GLOBAL_FUNCTION, 0, section, 0x1000, 12)
    count = len(symbols) // 24
    table = struct.pack("<II", 1, count) + bytes(4 * (1 + count))
    segments = 3 if made.loader else 2
    strings_at = _HEADER_BYTES + segments * _SEGMENT_BYTES
    symbols_at = strings_at + len(strings)
    table_at = symbols_at + len(symbols)
    dynamic_at = table_at + len(table)
    tags = [
        *((_NEEDED, where[name]) for name in made.needed),
        (_HASH, table_at),
        (_STRTAB, strings_at),
        (_SYMTAB, symbols_at),
        (_STRSZ, len(strings)),
        (_SYMENT, 24),
        (_NULL, 0),
    ]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    loader = made.loader.encode() + b"\0"
    loader_at = dynamic_at + len(dynamic)
    versions_at = loader_at + len(loader)
    # One definition with one name.
    versions = struct.pack("<HHHHIII", 1, 0, 2, 1, 0, 20, 0) + struct.pack(
        "<II", where[made.version], 0
    )
    sections_at = versions_at + len(versions)
    sections = bytes(_SECTION_BYTES)
    sections += _section(_SHT_STRTAB, strings_at, len(strings))
    if made.version:
        sections += _section(_SHT_VERDEF, versions_at, len(versions), link=1, info=1)
    total = sections_at + len(sections)
    headers = _segment(_LOAD, 0, total) + _segment(_DYNAMIC, dynamic_at, len(dynamic))
    if made.loader:
        headers += _segment(_INTERP, loader_at, len(loader))
    head = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        b"\x7fELF",
        2,
        1,
        1,
        0,
        _EXEC if made.fixed else _DYN,
        made.machine,
        1,
        made.entry,
        _HEADER_BYTES,
        sections_at,
        0,
        _HEADER_BYTES,
        _SEGMENT_BYTES,
        segments,
        _SECTION_BYTES,
        len(sections) // _SECTION_BYTES,
        1,
    )
    return head + headers + strings + symbols + table + dynamic + loader + versions + sections


def _segment(kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 5, offset, offset, offset, size, size, 8)


def _section(kind: int, offset: int, size: int, link: int = 0, info: int = 0) -> bytes:
    return struct.pack("<IIQQQQIIQQ", 0, kind, 0, offset, offset, size, link, info, 1, 0)
