"""Profile files of one or more folders, and every mistake in them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Platform
from distillfarm.profiles.schema import (
    ChipsetProfile,
    PhoneProfile,
    PlatformProfile,
    mistakes,
)

KINDS = {"phones": PhoneProfile, "chipsets": ChipsetProfile, "platforms": PlatformProfile}
"""The folders of profiles and what one file in each holds."""

Profile = TypeVar("Profile", PhoneProfile, ChipsetProfile, PlatformProfile)


@dataclass(frozen=True)
class Shelf:
    """What the folders hold, by file name without ``.yaml``, and what is wrong with it."""

    phones: Mapping[str, PhoneProfile]
    chipsets: Mapping[str, ChipsetProfile]
    platforms: Mapping[str, PlatformProfile]
    mistakes: tuple[str, ...]


def read(folders: Sequence[Path]) -> Shelf:
    """Read every profile; a file in a later folder replaces one of the same name before it."""
    found = [f"profiles: {folder} is no folder" for folder in folders if not folder.is_dir()]
    phones = _read_kind(folders, "phones", PhoneProfile, found)
    chipsets = _read_kind(folders, "chipsets", ChipsetProfile, found)
    platforms = _read_kind(folders, "platforms", PlatformProfile, found)
    found += _claimed_twice("phones", phones, lambda each: (*each.reported_as, *each.codenames))
    found += _claimed_twice("chipsets", chipsets, lambda each: each.reported_as)
    # A chipset whose file is there but wrong has had its line already.
    known = set(_paths(folders, "chipsets"))
    found += [
        f"profile phones/{name}: there is no chipsets/{phone.chipset}.yaml; add it"
        for name, phone in phones.items()
        if phone.chipset not in known
    ]
    return Shelf(phones, chipsets, platforms, tuple(found))


def strays(folder: Path) -> Iterator[str]:
    """Files of a site's folder that nothing would read, each with what to do about it.

    Notes in Markdown and hidden files are the site's own business.
    """
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if (
            path.is_dir()
            or any(part.startswith(".") for part in place.parts)
            or path.suffix == ".md"
        ):
            continue
        if len(place.parts) != 2 or place.parts[0] not in KINDS:  # noqa: PLR2004  KIND/NAME
            yield f"{path} is never read; profiles lie in {', '.join(KINDS)}"
        elif path.suffix != ".yaml":
            yield f"{path} is never read; name it {path.stem}.yaml"


def _paths(folders: Sequence[Path], kind_folder: str) -> dict[str, Path]:
    return {
        path.stem: path
        for folder in folders
        for path in sorted((folder / kind_folder).glob("*.yaml"))
    }


def _read_kind(
    folders: Sequence[Path], kind_folder: str, kind: type[Profile], found: list[str]
) -> dict[str, Profile]:
    profiles = {}
    for name, path in _paths(folders, kind_folder).items():
        try:
            profile = decode(path, kind)
        except InvalidRequest as error:
            found.append(str(error))
            continue
        found += [f"profile {path}: {each}" for each in mistakes(profile)]
        profiles[name] = profile
    return profiles


def decode(path: Path, kind: type[Profile]) -> Profile:
    """One profile file, its fields of the right types.

    Raises:
        InvalidRequest: unreadable, an unknown or missing field, a value of the wrong type; the
            text names the file and the field.
    """
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InvalidRequest(f"profile {path}: {reason}; mend the file") from error


def _claimed_twice(
    kind_folder: str, profiles: Mapping[str, Profile], names: Callable[[Profile], Iterable[str]]
) -> Iterator[str]:
    owners: dict[tuple[Platform, str], str] = {}
    for name, profile in profiles.items():
        for told in names(profile):
            first = owners.setdefault((profile.platform, told.casefold()), name)
            if first != name:
                yield f"profiles {kind_folder}/{first} and {name} both claim {told!r}; keep one"
