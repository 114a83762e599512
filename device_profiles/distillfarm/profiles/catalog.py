"""All profiles that are known here, and the ones that fit a device as it describes itself."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import DeviceInfo, Target
from distillfarm.profiles.reading import read
from distillfarm.profiles.schema import ChipsetProfile, PhoneProfile, PlatformProfile, Quirk

SHIPPED = Path(__file__).parent
OVERLAY_VARIABLE = "DISTILLFARM_PROFILES"
"""The environment variable that names a site's own folder of profiles."""


@dataclass(frozen=True)
class Catalog:
    """Profiles by file name without ``.yaml``."""

    phones: Mapping[str, PhoneProfile]
    chipsets: Mapping[str, ChipsetProfile]
    platforms: Mapping[str, PlatformProfile]

    def phone(self, info: DeviceInfo) -> PhoneProfile | None:
        """The profile of the device's model, or None.

        The model number goes before the codename. A phone that tells another chipset than the
        profile has is not that phone.
        """
        ours = [each for each in self.phones.values() if each.platform is info.platform]
        told = (
            *(each for each in ours if _among(info.model, each.reported_as)),
            *(each for each in ours if _among(info.codename, each.codenames)),
            *(each for each in ours if "*" in each.reported_as),
        )
        possible = self._possible_chipsets(info)
        return next((each for each in told if not possible or each.chipset in possible), None)

    def chipset(self, info: DeviceInfo) -> ChipsetProfile | None:
        """The profile of the device's chipset, or None.

        A name that is one chipset's alone decides. A device that tells none that is known here has
        the chipset of its phone model. The name of its board decides last, and only where a single
        chipset has that board.
        """
        phone = self.phone(info)
        if phone is not None:
            return self.chipsets[phone.chipset]
        possible = self._possible_chipsets(info)
        if len(possible) == 1:
            return self.chipsets[possible[0]]
        return next(
            (
                each
                for each in self.chipsets.values()
                if each.platform is info.platform and "*" in each.reported_as
            ),
            None,
        )

    def quirks(self, info: DeviceInfo, target: Target | None = None) -> tuple[Quirk, ...]:
        """Known troubles of the device, those of its platform first.

        With ``target`` only those that a measurement there has to reckon with.
        """
        known: list[Quirk] = []
        for platform in self.platforms.values():
            if platform.platform is info.platform:
                known += platform.quirks
        for profile in (self.chipset(info), self.phone(info)):
            if profile is not None:
                known += profile.quirks
        return tuple(each for each in known if target is None or each.reaches(target))

    def _possible_chipsets(self, info: DeviceInfo) -> list[str]:
        """The chipsets that the device can have by what it tells; none if it tells nothing known.

        A name that is one chipset's alone decides. The driver gives the board as the chipset's
        model where the phone has nothing better.
        """
        ours = {
            name: each for name, each in self.chipsets.items() if each.platform is info.platform
        }
        told = info.chipset.model or info.board
        own = [name for name, each in ours.items() if _among(told, each.reported_as)]
        return own or [name for name, each in ours.items() if _among(told, each.boards)]


def load(*folders: Path) -> Catalog:
    """Read every profile; a file in a later folder replaces one of the same name before it.

    Raises:
        InvalidRequest: a profile that is wrong, a phone with an unknown chipset, two profiles for
            one reported name.
    """
    shelf = read(folders)
    if shelf.mistakes:
        others = len(shelf.mistakes) - 1
        more = f" (and {others} more; distillfarm profiles check shows all)" if others else ""
        raise InvalidRequest(shelf.mistakes[0] + more)
    return Catalog(shelf.phones, shelf.chipsets, shelf.platforms)


def site_folder() -> Path | None:
    """The site's own folder of profiles, or None where it has none."""
    site = os.environ.get(OVERLAY_VARIABLE)
    return Path(site) if site else None


@cache
def shipped() -> Catalog:
    """The profiles that come with distillfarm, with the site's own laid over them."""
    site = site_folder()
    if site is not None and not site.is_dir():
        raise InvalidRequest(f"profiles: {site} is no folder; mend {OVERLAY_VARIABLE}")
    return load(SHIPPED, *([site] if site else []))


def _among(name: str, names: Iterable[str]) -> bool:
    return bool(name) and name.casefold() in (each.casefold() for each in names)
