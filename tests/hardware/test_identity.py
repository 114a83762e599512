"""Who the phone is, what runs on it and how it fares: believable, or refused with a reason."""

import re

import pytest
from adbutils import AdbDevice
from phone_under_test import Shown

from distillfarm.agent.drivers.android import commands, readings, shell, state
from distillfarm.agent.drivers.android.source import TARGETS
from distillfarm.agent.drivers.android.state import State
from distillfarm.agent.phone_runtimes import Flavour
from distillfarm.agent.protocols import Attached
from distillfarm.domain.hardware import DeviceInfo, Platform, Target
from distillfarm.profiles.catalog import shipped

# What a phone in a room can have; sensors on a busy chip reach 100 °C.
COLDEST_C, BODY_C, CHIP_C = 0.0, 60.0, 125.0
# One cell when empty, and two in a row when full.
LEAST_MV, MOST_MV = 2500, 9500


@pytest.fixture
def now(device: AdbDevice) -> State:
    return state.parse(shell.run(device, state.COMMAND, timeout_s=30.0).text)


def test_the_phone_tells_what_it_is(info: DeviceInfo, device: AdbDevice, shown: Shown) -> None:
    assert info.platform is Platform.ANDROID
    assert info.model
    assert str(info.chipset)
    # The recordings that a stand-in answers from may lack the version.
    assert re.fullmatch(r"Android( \d+)?" if info.emulated else r"Android \d+", info.os_name)
    assert info.os_build.count("/") >= 3
    assert 2 <= info.cores <= 16
    assert 2**30 <= info.memory_bytes <= 64 * 2**30
    assert sum(len(each.cores) for each in info.clusters) in (0, info.cores)
    assert all(300_000 <= each.max_khz <= 6_000_000 for each in info.clusters)
    clusters = ", ".join(map(str, info.clusters)) or "clusters not told"
    gpu = info.gpu.name if info.gpu else "GPU not told"
    shown(f"{info.model}, {info.chipset}, {info.os_name}, {clusters}, {gpu}")


def test_the_phone_says_the_same_again(info: DeviceInfo, device: AdbDevice) -> None:
    again = commands.with_runtimes(commands.identify(device), info.runtimes)
    assert again == info


def test_the_phone_has_a_profile_that_agrees(info: DeviceInfo, shown: Shown) -> None:
    phone, chipset = shipped().phone(info), shipped().chipset(info)
    if chipset is None:
        pytest.skip(f"no profile of {info.chipset} or {info.model}: docs/profiles.md has how")
    if chipset.clusters:
        assert sum(each.cores for each in chipset.clusters) == info.cores
    quirks = len(shipped().quirks(info))
    shown(f"{phone or 'no profile of this model'}, {chipset}, {quirks} known quirks")


def test_programs_for_it_can_be_had(device: AdbDevice, info: DeviceInfo, shown: Shown) -> None:
    flavour = Flavour(commands.flavour(device))
    if not info.emulated:
        assert flavour.startswith("bionic-")
    shown(flavour)


def test_something_runs_on_it(info: DeviceInfo, shown: Shown) -> None:
    refusals = "; ".join(f"{each.target}: {each.refusal}" for each in info.runtimes)
    working = [each for each in info.runtimes if each.works]
    assert working, refusals
    shown(f"{len(working)} of {len(info.runtimes)} targets")


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_target_works_or_says_why_not(info: DeviceInfo, target: Target, shown: Shown) -> None:
    (support,) = (each for each in info.runtimes if each.target == target)
    if not support.works:
        assert len(support.refusal) > len("failed")
        assert "\n" not in support.refusal
        pytest.skip(support.refusal)
    assert support.version
    shown(f"version {support.version}")


def test_its_battery_is_believable(now: State, shown: Shown) -> None:
    battery = now.battery
    if battery is None:
        pytest.skip("the phone tells of no battery")
    assert not battery.simulated
    assert 0 <= battery.percent <= 100
    assert battery.status
    assert battery.temperature_c is not None
    assert COLDEST_C < battery.temperature_c < BODY_C
    assert battery.voltage_mv is not None
    assert LEAST_MV <= battery.voltage_mv <= MOST_MV
    fed = f"fed by {', '.join(battery.sources)}" if battery.sources else "fed by nothing"
    shown(f"{battery.percent:.0f} %, {battery.status}, {battery.temperature_c:.1f} °C, {fed}")


def test_its_temperatures_are_believable(now: State, shown: Shown) -> None:
    assert now.body_c is not None
    assert COLDEST_C < now.body_c < BODY_C
    for sensor in now.sensors:
        assert COLDEST_C < sensor.celsius < CHIP_C, sensor
        assert 0 <= sensor.severity <= 6
    throttling = "not told" if now.throttling is None else now.throttling
    hottest = max((each.celsius for each in now.sensors), default=now.body_c)
    shown(
        f"body {now.body_c:.1f} °C, {len(now.sensors)} sensors up to {hottest:.1f}, "
        f"throttling {throttling}"
    )


def test_its_load_clocks_and_boot_are_believable(
    now: State, info: DeviceInfo, device: AdbDevice, shown: Shown
) -> None:
    assert now.boot_id is not None
    assert now.boot_id == readings.boot_id(shell.run(device, readings.BOOT_COMMAND).text)
    assert now.busy_cores is not None
    assert 0 <= now.busy_cores <= info.cores + 1
    fastest_khz = max((each.max_khz for each in info.clusters), default=6_000_000)
    assert all(0 < each <= fastest_khz for each in now.clocks_khz)
    shown(f"{now.busy_cores:.1f} cores busy, {len(now.clocks_khz)} clocks told")


def test_its_clock_can_be_compared_with_ours(
    device: AdbDevice, info: DeviceInfo, shown: Shown
) -> None:
    offsets_s = [commands.clock_offset_s(device) for _ in range(5)]
    told_s = [each for each in offsets_s if each is not None]
    assert len(told_s) == len(offsets_s)
    spread_ms = (max(told_s) - min(told_s)) * 1e3
    # Energy is attributed by it; an emulated phone takes its time to answer.
    assert spread_ms < (5000 if info.emulated else 200)
    shown(f"known to {spread_ms:.0f} ms")


async def test_each_gate_is_open_or_says_why(attached: Attached, shown: Shown) -> None:
    async with attached.driver as driver:
        told = {each.name: await each.closed(driver) for each in attached.gates}
    assert set(told) == {"temperature", "throttling", "battery", "screen", "quiet"}
    assert all(reason is None or reason for reason in told.values())
    assert told["screen"] is None
    shown(", ".join(f"{name}: {reason or 'open'}" for name, reason in told.items()))


async def test_its_health_is_told(attached: Attached, shown: Shown) -> None:
    assert attached.health is not None
    health = await attached.health()
    assert health.serial == attached.serial
    assert health.temperature_c is not None
    shown(health.trouble or "fit for work")
