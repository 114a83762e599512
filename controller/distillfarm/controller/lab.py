"""Which chipsets a study has before it, with the devices and targets of each; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.domain.hardware import Device, DeviceStatus, Target
from distillfarm.profiles.support import refusal

_USABLE = (DeviceStatus.IDLE, DeviceStatus.BUSY)


@dataclass(frozen=True)
class Unsupported:
    """A target that no device of the chipset can run, and why."""

    target: Target
    reason: str


@dataclass(frozen=True)
class Phone:
    """One device with what decides whether its launches belong to a series.

    ``runtimes`` are those of the study's targets that it can run, each with its version.
    """

    device_id: str
    os_build: str
    runtimes: tuple[tuple[Target, str], ...]
    firmware: str = ""

    def version(self, target: Target) -> str | None:
        """The version of a target's runtime, None where the device cannot run it."""
        return dict(self.runtimes).get(target)


@dataclass(frozen=True)
class ChipsetLab:
    """One chipset: what a study searches a winner for.

    ``selector`` means exactly its devices within the study's selector. ``emulated`` is whether
    none of them is real: a study then tests the plumbing, and nothing is chosen.
    """

    chipset: str
    selector: str
    phones: tuple[Phone, ...]
    targets: tuple[Target, ...]
    unsupported: tuple[Unsupported, ...] = ()
    emulated: bool = False


def survey(
    devices: Sequence[Device], targets: Sequence[Target], selector: str
) -> tuple[ChipsetLab, ...]:
    """The chipsets of the usable devices, in order of name.

    Emulated devices of a chipset are left alone where there is a real one.
    """
    usable = [each for each in devices if each.status in _USABLE]
    chipsets = sorted({str(each.info.chipset) for each in usable})
    return tuple(
        _chipset(
            name, [each for each in usable if str(each.info.chipset) == name], targets, selector
        )
        for name in chipsets
    )


def _chipset(
    name: str, found: Sequence[Device], targets: Sequence[Target], selector: str
) -> ChipsetLab:
    real = [each for each in found if not each.info.emulated]
    devices = real or found
    narrowed = _narrowed(selector, name, devices)
    refusals = {target: [refusal(device.info, target) for device in devices] for target in targets}
    return ChipsetLab(
        chipset=name,
        selector=f"{narrowed},emulated=no" if len(real) < len(found) and real else narrowed,
        phones=tuple(_phone(each, targets) for each in devices),
        targets=tuple(target for target in targets if None in refusals[target]),
        unsupported=tuple(
            Unsupported(target, str(refusals[target][0]))
            for target in targets
            if None not in refusals[target]
        ),
        emulated=not real,
    )


def _phone(device: Device, targets: Sequence[Target]) -> Phone:
    versions = {each.target: each.version for each in device.info.runtimes}
    able = [target for target in targets if refusal(device.info, target) is None]
    runtimes = tuple((target, versions.get(target, "")) for target in able)
    return Phone(device.device_id, device.info.os_build, runtimes, device.info.firmware)


def _narrowed(selector: str, chipset: str, devices: Sequence[Device]) -> str:
    # A comma would end the selector's term, so such a chipset is meant by its first device.
    term = f"id={devices[0].device_id}" if "," in chipset else f"chipset={chipset}"
    return term if selector.strip() in ("", "*") else f"{selector},{term}"
