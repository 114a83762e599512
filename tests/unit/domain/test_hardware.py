"""Targets and selectors as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import (
    DEFAULT_DELEGATES,
    Chipset,
    ComputeUnit,
    Device,
    DeviceInfo,
    DeviceStatus,
    Platform,
    Runtime,
    Target,
    matches,
    parse_target,
)

INFO = DeviceInfo(
    serial="0123ABC",
    platform=Platform.ANDROID,
    model="Pixel 8 Pro",
    chipset=Chipset("Google", "Tensor G3"),
    os_name="Android 14",
    os_build="google/husky",
    cores=9,
    memory_bytes=12 * 2**30,
)
PHONE = Device("device-1", "agent-a", INFO, DeviceStatus.IDLE, 0.0, ("desk-3", "fast"))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("*", True),
        ("", True),
        ("device-1", True),
        ("0123ABC", True),
        ("desk-3", True),
        ("desk-4", False),
        ("id=device-1", True),
        ("agent=agent-a", True),
        ("platform=android", True),
        ("platform=ios", False),
        ("model=pixel 8 pro", True),
        ("chipset=Tensor G3", True),
        ("chipset=google tensor g3", True),
        ("label=fast, platform=android", True),
        ("label=slow, platform=android", False),
        ("*, label=slow", False),
        ("emulated=no", True),
        ("emulated=yes", False),
    ],
)
def test_all_terms_of_a_selector_must_hold(selector: str, expected: bool) -> None:
    assert matches(PHONE, selector) is expected


def test_an_unknown_key_is_refused_not_ignored() -> None:
    with pytest.raises(InvalidRequest, match="unknown key 'soc'; use one of agent, chipset"):
        matches(PHONE, "soc=Tensor G3")


@given(
    st.sampled_from(list(Runtime)),
    st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True),
    st.sampled_from(list(ComputeUnit)),
)
def test_a_target_survives_being_written_and_read(
    runtime: Runtime, delegate: str, unit: ComputeUnit
) -> None:
    target = Target(runtime, delegate, unit)
    assert parse_target(str(target)) == target


@pytest.mark.parametrize("runtime", list(Runtime))
def test_a_bare_runtime_means_its_usual_delegate_on_the_cpu(runtime: Runtime) -> None:
    expected = Target(runtime, DEFAULT_DELEGATES[runtime], ComputeUnit.CPU)
    assert parse_target(f" {runtime.value.upper()} ") == expected


@pytest.mark.parametrize("text", ["", "tensorrt", "litert/gpu/tpu", "litert/a/cpu/x"])
def test_what_is_no_target_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"write RUNTIME\[/DELEGATE\[/UNIT\]\]"):
        parse_target(text)
