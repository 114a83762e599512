"""Whether a binary is what it is kept as: for the machine and the C library of its flavour."""

import re
from pathlib import PurePosixPath

from distillfarm.agent.phone_runtimes.catalog import Flavour, Item, Kind
from distillfarm.agent.phone_runtimes.elf import Elf

_MACHINES = {
    Flavour.BIONIC_AARCH64: "EM_AARCH64",
    Flavour.GLIBC_AARCH64: "EM_AARCH64",
    Flavour.GLIBC_X86_64: "EM_X86_64",
}
_NAMES = {
    "EM_AARCH64": "AArch64",
    "EM_X86_64": "x86-64",
    "EM_386": "32-bit x86",
    "EM_ARM": "32-bit Arm",
}
_BIONIC, _GLIBC = "Android's C library (bionic)", "glibc"
# ONNX Runtime marks its symbols with its version, such as VERS_1.29.0.
_VERSION = re.compile(r"VERS_(\d+\.\d+\.\d+)")


def misfit(elf: Elf, flavour: Flavour) -> str:
    """Why a binary does not run under ``flavour``; empty when nothing speaks against it."""
    wanted = _MACHINES[flavour]
    if elf.machine != wanted or elf.bits != 64:  # noqa: PLR2004 - bits of an address
        return f"is for {_NAMES.get(elf.machine, elf.machine)}, not for {_NAMES[wanted]}"
    library = _BIONIC if flavour is Flavour.BIONIC_AARCH64 else _GLIBC
    found = c_library(elf)
    # What names none runs with any: a static program, a library without calls.
    if found and found != library:
        return f"needs {found}, and {flavour} has {library}"
    if flavour is Flavour.BIONIC_AARCH64 and elf.fixed and elf.interpreter:
        return "runs at a fixed address, which Android refuses; link it with -pie"
    return ""


def mistaken(elf: Elf, item: Item) -> str:
    """Why a binary cannot be ``item``; empty when it may."""
    if item.kind is Kind.PROGRAM:
        return "" if elf.program else "is no program"
    if elf.program and elf.interpreter:
        return "is a program, not a shared library"
    if not elf.exports.intersection(item.symbols):
        return f"exports no {' or '.join(item.symbols)}, so it is not {item.name}"
    return ""


def c_library(elf: Elf) -> str:
    """The C library that a binary asks for, by its loader or by name; empty where for none."""
    loader = PurePosixPath(elf.interpreter).name
    if loader.startswith("linker"):
        return _BIONIC
    if loader.startswith("ld-linux"):
        return _GLIBC
    if loader:
        return f"the C library of {elf.interpreter}"
    if "libc.so" in elf.needed:
        return _BIONIC
    return _GLIBC if "libc.so.6" in elf.needed else ""


def own_version(elf: Elf) -> str:
    """The version that a library tells of itself; empty where it tells none."""
    found = [match[1] for name in elf.versions if (match := _VERSION.fullmatch(name))]
    return found[0] if len(found) == 1 else ""
