"""What a profile file says about one phone model or one chipset, each fact with its source."""

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import ComputeUnit, Platform, Target, parse_target

Text = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


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


class ChipsetProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a system on chip.

    ``reported_as`` are the names by which a device tells it; ``*`` stands for any other chipset of
    ``platform``. ``sources`` says for every other field that is filled where its fact comes from.
    """

    vendor: Text
    model: Text
    platform: Platform
    reported_as: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    sources: dict[str, Text]
    clusters: tuple[Cluster, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()

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

    ``reported_as`` and ``sources`` as for a chipset. ``chipset`` is the file name (without
    ``.yaml``) of its chipset's profile. ``power_rails`` is whether it meters power per rail.
    """

    vendor: Text
    model: Text
    platform: Platform
    reported_as: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    chipset: Text
    sources: dict[str, Text]
    memory_gb: tuple[Count, ...] = ()
    power_rails: bool | None = None

    def __str__(self) -> str:
        return f"{self.vendor} {self.model}"


Profile = TypeVar("Profile", PhoneProfile, ChipsetProfile)

_NEEDS_SOURCE = ("reported_as", "clusters", "accelerators", "chipset", "memory_gb", "power_rails")


def read(path: Path, kind: type[Profile]) -> Profile:
    """Read and check one profile file.

    Raises:
        InvalidRequest: unreadable, an unknown or missing field, a fact without its source, a
            target that is none; the text names the file and the field.
    """
    try:
        profile = msgspec.yaml.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, OSError) as error:
        raise InvalidRequest(f"profile {path}: {error}; mend the file") from error
    filled = {name for name in _NEEDS_SOURCE if getattr(profile, name, None) not in (None, ())}
    if missing := sorted(filled - profile.sources.keys()):
        raise InvalidRequest(f"profile {path}: no source for {', '.join(missing)}; add it")
    if unknown := sorted(profile.sources.keys() - filled):
        raise InvalidRequest(f"profile {path}: a source for {', '.join(unknown)}, which is unset")
    if isinstance(profile, ChipsetProfile):
        _check_targets(path, profile)
    return profile


def _check_targets(path: Path, profile: ChipsetProfile) -> None:
    for accelerator in profile.accelerators:
        for text in accelerator.targets:
            try:
                target = parse_target(text)
            except InvalidRequest as error:
                raise InvalidRequest(f"profile {path}: {error}") from error
            if target.unit is not accelerator.unit:
                raise InvalidRequest(
                    f"profile {path}: target {text} is not for the {accelerator.unit.value} "
                    f"{accelerator.name}; write RUNTIME/DELEGATE/{accelerator.unit.value}"
                )
