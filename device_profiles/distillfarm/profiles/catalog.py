"""All profiles that are known here, and the one that fits a device as it describes itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import DeviceInfo, Platform
from distillfarm.profiles.schema import ChipsetProfile, PhoneProfile, Profile, read

SHIPPED = Path(__file__).parent
OVERLAY_VARIABLE = "DISTILLFARM_PROFILES"
"""The environment variable that names a site's own folder of ``phones`` and ``chipsets``."""


@dataclass(frozen=True)
class Catalog:
    """Profiles by file name without ``.yaml``."""

    phones: Mapping[str, PhoneProfile]
    chipsets: Mapping[str, ChipsetProfile]

    def phone(self, info: DeviceInfo) -> PhoneProfile | None:
        """The profile of the device's model, or None."""
        told = _exact(self.phones, info.platform, info.model)
        return told or _exact(self.phones, info.platform, "*")

    def chipset(self, info: DeviceInfo) -> ChipsetProfile | None:
        """The profile of the device's chipset, or None.

        A device that does not tell its chipset, or tells one that is not known here, has the
        chipset of its phone model.
        """
        told = _exact(self.chipsets, info.platform, info.chipset.model)
        if told is not None:
            return told
        phone = self.phone(info)
        if phone is not None:
            return self.chipsets[phone.chipset]
        return _exact(self.chipsets, info.platform, "*")


def load(*folders: Path) -> Catalog:
    """Read every profile; a file in a later folder replaces one of the same name before it.

    Raises:
        InvalidRequest: a profile that is wrong, a phone with an unknown chipset, two profiles for
            one reported name.
    """
    phones = _read_all(folders, "phones", PhoneProfile)
    chipsets = _read_all(folders, "chipsets", ChipsetProfile)
    for name, phone in phones.items():
        if phone.chipset not in chipsets:
            raise InvalidRequest(
                f"profile phones/{name}: there is no chipsets/{phone.chipset}.yaml; add it"
            )
    return Catalog(phones, chipsets)


@cache
def shipped() -> Catalog:
    """The profiles that come with distillfarm, with the site's own laid over them."""
    site = os.environ.get(OVERLAY_VARIABLE)
    return load(SHIPPED, *([Path(site)] if site else []))


def _read_all(
    folders: tuple[Path, ...], kind_folder: str, kind: type[Profile]
) -> dict[str, Profile]:
    for folder in folders:
        if not folder.is_dir():
            raise InvalidRequest(f"profiles: {folder} is no folder; mend {OVERLAY_VARIABLE}")
    paths = {
        path.stem: path
        for folder in folders
        for path in sorted((folder / kind_folder).glob("*.yaml"))
    }
    profiles = {name: read(path, kind) for name, path in paths.items()}
    owners: dict[tuple[Platform, str], str] = {}
    for name, profile in profiles.items():
        for reported in profile.reported_as:
            first = owners.setdefault((profile.platform, reported.casefold()), name)
            if first != name:
                raise InvalidRequest(
                    f"profiles {kind_folder}/{first} and {name} both claim {reported!r}; keep one"
                )
    return profiles


def _exact(profiles: Mapping[str, Profile], platform: Platform, reported: str) -> Profile | None:
    for profile in profiles.values():
        names = (each.casefold() for each in profile.reported_as)
        if profile.platform is platform and reported.casefold() in names:
            return profile
    return None
