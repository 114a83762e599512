"""Which launches that were made before count for a new study."""

from dataclasses import replace

import farm_samples
import pytest

from distillfarm.controller.lab import ChipsetLab, Phone
from distillfarm.controller.reuse import alike, enough, reusable
from distillfarm.domain.job import ColdStart, Lease, MeasureSpec
from distillfarm.domain.measurement import ContextEntry, Measurement, Outcome

CHIP = "Google Tensor G2"
PLACE = ChipsetLab(
    CHIP,
    f"chipset={CHIP}",
    (Phone("device-1", "build-2", ((farm_samples.ONNX, "1.30"),), "baseband 7"),),
    (farm_samples.ONNX,),
)


def measured(
    build: str = "build-2", version: str = "1.30", firmware: str = "baseband 7", launches: int = 3
) -> Measurement:
    context = (
        ContextEntry("os_build", build),
        ContextEntry("runtime_version", version),
        ContextEntry("firmware", firmware),
    )
    made = farm_samples.measurement(
        Lease("job", "device-9", "agent", 1, 0.0), launches=(farm_samples.launch(),) * launches
    )
    return replace(made, context=context)


def taken(found: Measurement, spec: MeasureSpec = MeasureSpec(), chipset: str = CHIP) -> bool:  # noqa: B008
    return reusable([(chipset, found)], spec, PLACE) == [found]


def test_another_phone_of_the_chipset_under_the_same_build_counts() -> None:
    assert taken(measured())
    assert not taken(measured(), chipset="Qualcomm SM8550")


def test_how_many_launches_were_made_does_not_matter() -> None:
    more = MeasureSpec(launches=9, max_launches=40, width=0.05, budget_s=60.0)
    assert taken(measured(), more)
    assert alike(more) == alike(MeasureSpec())


@pytest.mark.parametrize(
    "spec",
    [
        MeasureSpec(threads=2),
        MeasureSpec(iterations=10),
        MeasureSpec(cold_start=ColdStart.FIRST_EVER),
        MeasureSpec(inputs_digest="sha256:1"),
    ],
)
def test_everything_else_about_a_launch_does(spec: MeasureSpec) -> None:
    assert not taken(measured(), spec)


@pytest.mark.parametrize(
    ("build", "version", "firmware"),
    [
        ("build-1", "1.30", "baseband 7"),
        ("build-2", "1.29", "baseband 7"),
        ("build-2", "1.30", "baseband 6"),
        ("", "", ""),
    ],
)
def test_an_update_of_system_runtime_or_firmware_begins_a_new_series(
    build: str, version: str, firmware: str
) -> None:
    assert not taken(measured(build, version, firmware))


def test_what_gave_no_numbers_counts_for_nothing() -> None:
    assert not taken(replace(measured(), outcome=Outcome.CRASHED))
    assert not taken(replace(measured(), emulated=True))


def test_no_more_measurements_are_taken_than_launches_are_wanted() -> None:
    few = [measured(launches=3), measured(launches=4), measured(launches=5)]
    assert enough(few, 3) == few[:1]
    assert enough(few, 4) == few[:2]
    assert enough(few, 99) == few
