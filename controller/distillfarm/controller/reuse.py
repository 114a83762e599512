"""Which launches that were made before stand in for new ones of the same series; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from distillfarm.controller.lab import ChipsetLab
from distillfarm.controller.series import has_numbers, series_key
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Measurement


def reusable(
    found: Iterable[tuple[str, Measurement]], spec: MeasureSpec, place: ChipsetLab
) -> list[Measurement]:
    """Those of the measurements of one artifact whose launches may be pooled with new ones.

    They must have been made as ``spec`` says, whatever their number, on a device of the chipset,
    under a build of the system, a firmware and a version of the runtime that a device has there
    now: an update begins a new series.

    Args:
        found: measurements of the artifact, each with the chipset of its device.
        spec: how the new launches are to be made.
        place: the chipset, with the devices that are there now.
    """
    return [
        each
        for chipset, each in found
        if chipset == place.chipset
        and has_numbers(each)
        and alike(each.spec) == alike(spec)
        and _present(each, place)
    ]


def alike(spec: MeasureSpec) -> MeasureSpec:
    """The spec without how many launches are made and when to stop: what is left is each launch."""
    return replace(spec, launches=1, max_launches=0, width=0.0, budget_s=0.0)


def enough(able: Sequence[Measurement], launches: int) -> list[Measurement]:
    """As few of the measurements, from the first on, as hold so many launches; else all."""
    taken: list[Measurement] = []
    for each in able:
        if sum(len(measured.launches) for measured in taken) >= launches:
            break
        taken.append(each)
    return taken


def _present(measurement: Measurement, place: ChipsetLab) -> bool:
    series = series_key(measurement)
    return bool(series.os_build) and any(
        (phone.os_build, phone.firmware, phone.version(measurement.target))
        == (series.os_build, series.firmware, series.runtime_version)
        for phone in place.phones
    )
