"""What a profile file says about a platform, a chipset or a phone model, each fact sourced."""

import re
from collections.abc import Iterator
from enum import Enum
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import ComputeUnit, Platform, Runtime, Target, parse_target

Text = Annotated[str, msgspec.Meta(min_length=1)]
Address = Annotated[str, msgspec.Meta(pattern=r"^https://[^\s/]+/\S")]
Names = Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]

_UNITS = "|".join(each.value for each in ComputeUnit)
_RUNTIMES = "|".join(each.value for each in Runtime)
_PATTERN = re.compile(rf"(\*|{_RUNTIMES})/[a-z0-9_*]+/(\*|{_UNITS})")


class Quirk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known trouble and the public page that tells of it.

    ``affects`` are patterns of targets such as ``litert/gpu/gpu`` or ``*/nnapi/*``; without one it
    is about the device itself: its meters, its names, its shell.
    """

    text: Text
    source: Address
    affects: tuple[Text, ...] = ()

    def reaches(self, target: Target) -> bool:
        """Whether a measurement on ``target`` has to reckon with it."""
        return not self.affects or any(
            fnmatchcase(str(target), pattern) for pattern in self.affects
        )


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """CPU cores of one kind; ``max_mhz`` is their highest clock."""

    core: Text
    cores: Count
    max_mhz: Count


class Accelerator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GPU or NPU and the targets known to reach it, in the form of ``parse_target``."""

    name: Text
    unit: ComputeUnit
    targets: tuple[Text, ...] = ()


class CurrentUnit(Enum):
    """The unit in which a battery gauge gives its current; Android asks for microamperes."""

    MICROAMPERE = "uA"
    MILLIAMPERE = "mA"


class Sign(Enum):
    """The sign of a current; Android asks for a negative one while the battery discharges."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


class Gauge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the battery gauge gives its current; None is what nobody has documented."""

    current_unit: CurrentUnit | None = None
    discharging: Sign | None = None


class PlatformProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds on every device of a platform."""

    platform: Platform
    quirks: tuple[Quirk, ...] = ()


class ChipsetProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a system on chip.

    ``reported_as`` are names that are its alone; ``*`` stands for any other chipset of
    ``platform``. ``boards`` are names of its platform (Android's ``ro.board.platform``), which
    several chipsets may share. ``sources`` says for every other field that is filled where its
    fact comes from; a quirk has its own source.
    """

    vendor: Text
    model: Text
    platform: Platform
    reported_as: Names
    sources: dict[str, Text]
    boards: tuple[Text, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    quirks: tuple[Quirk, ...] = ()

    def __str__(self) -> str:
        return f"{self.vendor} {self.model}"

    @property
    def targets(self) -> frozenset[Target]:
        """The targets known to reach one of its accelerators."""
        return frozenset(
            parse_target(target) for each in self.accelerators for target in each.targets
        )


class PhoneProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a phone model.

    ``reported_as`` are its model numbers, ``codenames`` the maker's names of the device (Android's
    ``ro.product.device``); no other phone may have one of either. ``sources`` as for a chipset.
    ``chipset`` is the file name (without ``.yaml``) of its chipset's profile. ``power_rails`` is
    whether it meters power per rail.
    """

    vendor: Text
    model: Text
    platform: Platform
    reported_as: Names
    chipset: Text
    sources: dict[str, Text]
    codenames: tuple[Text, ...] = ()
    memory_gb: tuple[Count, ...] = ()
    power_rails: bool | None = None
    gauge: Gauge | None = None
    quirks: tuple[Quirk, ...] = ()

    def __str__(self) -> str:
        return f"{self.vendor} {self.model}"


AnyProfile = PhoneProfile | ChipsetProfile | PlatformProfile

_NEEDS_NO_SOURCE = {"vendor", "model", "platform", "sources", "quirks"}


def mistakes(profile: AnyProfile) -> Iterator[str]:
    """What is wrong with a profile whose fields have the right types."""
    if not isinstance(profile, PlatformProfile):
        yield from _source_mistakes(profile)
    if isinstance(profile, ChipsetProfile):
        for accelerator in profile.accelerators:
            for target in accelerator.targets:
                yield from _target_mistakes(accelerator, target)
    for quirk in profile.quirks:
        for pattern in quirk.affects:
            if not _PATTERN.fullmatch(pattern):
                yield f"a quirk affects {pattern!r}; write RUNTIME/DELEGATE/UNIT, * for any"


def _source_mistakes(profile: PhoneProfile | ChipsetProfile) -> Iterator[str]:
    facts = set(profile.__struct_fields__) - _NEEDS_NO_SOURCE
    filled = {name for name in facts if getattr(profile, name) not in (None, ())}
    if missing := sorted(filled - profile.sources.keys()):
        yield f"no source for {', '.join(missing)}; add it"
    if unset := sorted(profile.sources.keys() - filled):
        yield f"a source for {', '.join(unset)}, which is unset"


def _target_mistakes(accelerator: Accelerator, text: str) -> Iterator[str]:
    try:
        target = parse_target(text)
    except InvalidRequest as error:
        yield str(error)
        return
    if target.unit is not accelerator.unit:
        yield (
            f"target {text} is not for the {accelerator.unit.value} {accelerator.name}; "
            f"write RUNTIME/DELEGATE/{accelerator.unit.value}"
        )
