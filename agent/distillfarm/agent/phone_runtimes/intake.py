"""From a file of anywhere to an entry of the store: unpacked, recognised, checked, recorded."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from distillfarm.agent.phone_runtimes import archives, elf, fitting, records
from distillfarm.agent.phone_runtimes.catalog import Build, Item, Kind
from distillfarm.agent.phone_runtimes.records import Origin, PhoneRuntime, Record
from distillfarm.agent.phone_runtimes.store import RuntimeStore
from distillfarm.domain.errors import InvalidRequest

_LICENCE = re.compile(r"(licen[cs]e|notice|copying|thirdpartynotices)(\.(txt|md))?", re.IGNORECASE)
# Licences of the whole, not of each part that a package carries.
_LICENCE_DEPTH = 3
_SO_VERSION = re.compile(r"\.so(\.\d+)+$")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_VERSION_IN_NAME = re.compile(r"-(\d+(?:\.\d+)+[A-Za-z0-9.]*?)(?=-|\.(?:aar|zip|whl|tgz|tar\.gz)$)")


@dataclass(frozen=True)
class Admission:
    """What an operator says of what is to be kept; empty where the file itself tells."""

    version: str = ""
    origin: str = ""
    replace: bool = False


@dataclass(frozen=True)
class _Found:
    """Files by the names that their makers gave them."""

    name: str
    main: Path
    companions: tuple[tuple[str, Path], ...] = ()
    licences: tuple[tuple[str, Path], ...] = ()


def admit(
    store: RuntimeStore,
    build: Build,
    files: Sequence[Path],
    scratch: Path,
    admission: Admission,
) -> PhoneRuntime:
    """Keep the first of ``files``, a binary or an archive with it, and the binaries beside it.

    ``scratch`` is that of ``RuntimeStore.writing``.

    Raises:
        InvalidRequest: a file is damaged, for another machine or C library, or something else; or
            no version is known.
        AlreadyExists: see ``RuntimeStore.put``.
    """
    first, *beside = files
    in_archive = archives.is_archive(first)
    found = _unpacked(build.item, first, scratch) if in_archive else _Found(first.name, first)
    folder = scratch / "entry"
    folder.mkdir()
    # Checked is the copy that is kept: the original may change meanwhile.
    main = _take(found.main, folder, _kept_name(build.item, found.name))
    others = [(path.name, path) for path in beside]
    companions = [_take(path, folder, name) for name, path in (*found.companions, *others)]
    licences = [_take(path, folder, name) for name, path in found.licences]
    headers = elf.read(main)
    _require(first, fitting.misfit(headers, build.flavour) or fitting.mistaken(headers, build.item))
    for path in companions:
        _require(path, fitting.misfit(elf.read(path), build.flavour))
    record = Record(
        name=build.item.name,
        flavour=build.flavour,
        version=_version(admission.version, fitting.own_version(headers), first),
        origin=Origin(admission.origin or f"file {first.resolve()}", records.kept(first).sha256),
        kept_at=datetime.now(UTC).replace(microsecond=0),
        files=tuple(records.kept(path) for path in (main, *companions)),
        licences=tuple(records.kept(path) for path in licences),
    )
    return store.put(record, folder, replace=admission.replace)


def _unpacked(item: Item, archive: Path, scratch: Path) -> _Found:
    """What of ``item`` is in an archive, or in the archive that this one carries."""

    def wanted(name: str) -> bool:
        return _is_licence(name) or _matches(name, (*item.members, *item.companions, *item.inner))

    members = archives.unpack(archive, wanted, scratch / "outer")
    licences = [each for each in members.items() if _is_licence(each[0])]
    inner = [path for name, path in members.items() if _matches(name, item.inner)]
    if len(inner) == 1:
        members = archives.unpack(inner[0], wanted, scratch / "inner")
        licences += [each for each in members.items() if _is_licence(each[0])]
    per_pattern = ([name for name in members if _matches(name, [each])] for each in item.members)
    main = next(filter(None, per_pattern), [])
    if len(main) != 1:
        raise InvalidRequest(
            f"{archive.name} holds {'no' if not main else 'more than one'} {item.name}: looked for "
            f"{', '.join((*item.members, *item.inner))}; unpack it and add the file itself"
        )
    companions = [each for each in members.items() if _matches(each[0], item.companions)]
    name = PurePosixPath(main[0]).name
    return _Found(name, members[main[0]], _by_plain_name(companions), _by_plain_name(licences))


def _kept_name(item: Item, name: str) -> str:
    """A program's own name; a library's without the version that Linux appends."""
    return item.name if item.kind is Kind.PROGRAM else _SO_VERSION.sub(".so", name)


def _take(source: Path, folder: Path, name: str) -> Path:
    if not _PLAIN_NAME.fullmatch(name):
        raise InvalidRequest(f"{name!r} is no file name for a phone; rename it")
    target = folder / name
    if target.exists() or name == records.MANIFEST:
        raise InvalidRequest(f"two files would be called {name}; rename one")
    shutil.copyfile(source, target)
    return target


def _require(path: Path, refusal: str) -> None:
    if refusal:
        raise InvalidRequest(f"{path.name} {refusal}")


def _version(told: str, own: str, file: Path) -> str:
    in_name = _VERSION_IN_NAME.search(file.name)
    found = told or own or (in_name[1] if in_name else "")
    if not found:
        raise InvalidRequest(f"{file.name} does not tell its version; name it by --version")
    release = records.release(found)
    # A build of one's own may be 1.29.0+mine, but nothing may be measured under a wrong name.
    if own and release.base_version != records.release(own).base_version:
        raise InvalidRequest(f"{file.name} says that it is {own}, not {release}")
    return str(release)


def _is_licence(name: str) -> bool:
    path = PurePosixPath(name)
    return len(path.parts) <= _LICENCE_DEPTH and _LICENCE.fullmatch(path.name) is not None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _by_plain_name(members: Sequence[tuple[str, Path]]) -> tuple[tuple[str, Path], ...]:
    """The first member of each plain name."""
    named: dict[str, Path] = {}
    for name, path in members:
        named.setdefault(PurePosixPath(name).name, path)
    return tuple(named.items())
