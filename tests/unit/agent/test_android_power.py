"""A phone's rails and gauge from recorded outputs, and what the meters make of them."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from adbutils import AdbDevice

from distillfarm.agent.drivers.android import power
from distillfarm.agent.drivers.android.shell import ShellResult
from distillfarm.agent.meters.gauge import (
    BatteryGaugeMeter,
    GaugeReading,
    calibrated,
    changed,
    why_not,
)
from distillfarm.agent.meters.odpm import OdpmMeter, Rail, RailReading
from distillfarm.agent.meters.sampled import NotMetered
from distillfarm.agent.protocols import DeviceDriver, Window
from distillfarm.domain.measurement import Energy

GOLDEN = Path(__file__).parents[2] / "golden" / "android"
RAILS = (GOLDEN / "ipowerstats_energy_meter_made_to_format.txt").read_text()
CHANNELS = (GOLDEN / "dumpsys_powerstats_pixel_channels.txt").read_text()
DISCHARGING = (GOLDEN / "dumpsys_battery_oneplus7_discharging.txt").read_text()
CHARGING = (GOLDEN / "dumpsys_battery_samsung_usb.txt").read_text()


def gauge_output(current: str, battery: str = DISCHARGING) -> str:
    return f"{current}\n==distillfarm==\n{battery}"


def reading(current: str = "-412000", battery: str = DISCHARGING) -> GaugeReading:
    return power.gauge(gauge_output(current, battery), 7.0, 0.05)


class RecordedLine:
    """A line to a phone that answers from a table of what its command has in it."""

    def __init__(self, **outputs: str) -> None:
        self.outputs = outputs

    async def ask(self, work: Callable[[AdbDevice, str], ShellResult], command: str) -> ShellResult:
        text = next((text for word, text in self.outputs.items() if word in command), "")
        return ShellResult(0, text.encode(), b"")


def test_every_rail_is_read_with_what_it_feeds_and_how_finely() -> None:
    rails = {rail.name: rail for rail in power.rails(RAILS)}
    assert len(rails) == 16
    assert rails["S2M_VDD_CPUCL2"].subsystem == "CPU(BIG)"
    assert rails["S2M_VDD_CPUCL2"].joules == pytest.approx(5320.04425)
    # 5.3e9 µWs in single precision: steps of 512 µWs.
    assert rails["S2M_VDD_CPUCL2"].quantum_j == pytest.approx(512e-6)
    assert rails["L2S_VDD_AOC_RET"].quantum_j == pytest.approx(1e-5)


def test_a_rail_without_its_subsystem_is_read_too() -> None:
    (rail,) = power.rails("      S2S_VDD_G3D           715420.25 mWs\n")
    assert (rail.name, rail.subsystem, rail.joules) == ("S2S_VDD_G3D", "", 715.42025)
    assert rail.computes


def test_only_rails_of_processors_and_memory_count() -> None:
    counted = [rail.name for rail in power.rails(RAILS) if rail.computes]
    assert counted == [
        "S10M_VDD_TPU",
        "S2M_VDD_CPUCL2",
        "S3M_VDD_CPUCL1",
        "S4M_VDD_CPUCL0",
        "S5M_VDD_INT",
        "S1M_VDD_MIF",
        "S5S_VDDQ_MEM",
        "S10S_VDD2L",
        "S4S_VDD2H_MEM",
        "S2S_VDD_G3D",
    ]
    # It carries the whole phone: everything else would be counted twice.
    assert not Rail("VSYS_PWR_VBATT", "Battery", 1.0, 0.0).computes


async def test_rails_are_read_over_the_line() -> None:
    look = await power.PhoneRails(RecordedLine(IPowerStats=RAILS)).read()
    assert len(look.rails) == 16
    assert 0 <= look.unsure_s < 1


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (CHANNELS, r"has power rails \(S10M_VDD_TPU, .*\) but does not show their energy"),
        ("", "shows no power rails"),
    ],
)
async def test_a_phone_that_hides_its_rails_is_refused_by_name(channels: str, words: str) -> None:
    with pytest.raises(NotMetered, match=words):
        await power.PhoneRails(RecordedLine(ChannelName=channels)).read()


async def test_the_gauge_is_read_over_the_line() -> None:
    line = RecordedLine(current_now=gauge_output("-412000"))
    look = await power.PhoneGauge(line).read()
    assert (look.current, look.voltage_mv, look.status) == (-412000, 3985, "discharging")
    assert (look.sources, look.simulated) == ((), False)
    assert why_not(look) == ""


@pytest.mark.parametrize(
    ("current", "battery", "words"),
    [
        ("0", CHARGING, "usb feeds the phone, so the gauge shows charging"),
        ("-412000", f"(UPDATES STOPPED -- use 'reset')\n{DISCHARGING}", "cuts no power"),
        ("-412000", DISCHARGING.replace("status: 3", "status: 4"), "battery is not charging"),
        ("-412000", DISCHARGING.replace("status: 3", "status: 1"), "in an unknown state"),
        ("permission denied", DISCHARGING, "shows no current"),
        ("0", DISCHARGING, "shows no current"),
        ("-412000", DISCHARGING.replace("3985", "7900"), "cannot be that of one cell"),
    ],
)
def test_a_gauge_that_does_not_show_the_use_is_refused_with_the_reason(
    current: str, battery: str, words: str
) -> None:
    assert words in why_not(reading(current, battery))


def test_a_phone_without_a_battery_is_refused() -> None:
    with pytest.raises(NotMetered, match="no battery"):
        reading(battery="")


@pytest.mark.parametrize(
    ("currents", "unit", "milliamperes"),
    [
        ([-412000, -398000], "µA (negative while discharging)", (412.0, 398.0)),
        ([257109, 300000], "µA (positive while discharging)", (257.109, 300.0)),
        ([-412, -1398], "mA (negative while discharging)", (412.0, 1398.0)),
        ([900, 2200, 3100], "mA (positive while discharging)", (900.0, 2200.0, 3100.0)),
    ],
)
def test_unit_and_sign_are_found_out_from_the_readings(
    currents: list[int], unit: str, milliamperes: tuple[float, ...]
) -> None:
    assert calibrated(currents) == (unit, milliamperes)


@pytest.mark.parametrize(
    ("currents", "words"),
    [
        ([-412000, 398000], "charged in between"),
        ([3, 5, 4], "no phone's current"),
        ([15000, 15500], "no phone's current, neither in µA nor in mA"),
        ([90_000_000], "no phone's current"),
    ],
)
def test_currents_that_no_phone_draws_are_refused(currents: list[int], words: str) -> None:
    with pytest.raises(NotMetered, match=words):
        calibrated(currents)


def test_the_recorded_gauge_of_a_charging_phone_has_the_other_sign_in_microamperes() -> None:
    recorded = (GOLDEN / "power_supply_battery_uevent_sony_xz.txt").read_text()
    found = re.search(r"CURRENT_NOW=(-?\d+)", recorded)
    assert found is not None
    assert "STATUS=Charging" in recorded
    unit, (milliamperes,) = calibrated([-int(found[1])])
    assert unit.startswith("µA")
    assert milliamperes == pytest.approx(257.109)


def test_repetitions_of_the_gauge_are_no_new_values() -> None:
    assert changed([1.0, 1.0, 2.0, 2.0, 2.0, 1.0]) == [2, 5]


class MadePhone:
    """A phone at 1 W, and ``busy_w`` from ``busy_from_s`` to ``busy_to_s`` of its readings' time.

    Its gauge has a new value every ``refresh_s`` of that time, and shows what was drawn then.
    """

    def __init__(self, refresh_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.refresh_s = refresh_s
        self.busy_from_s, self.busy_to_s, self.busy_w = 30.0, 90.0, 4.0
        self.battery = DISCHARGING

    def watts(self, t_s: float) -> float:
        return self.busy_w if self.busy_from_s <= t_s < self.busy_to_s else 1.0

    def rails(self) -> RailReading:
        busy_s = min(max(self.now_s - self.busy_from_s, 0.0), self.busy_to_s - self.busy_from_s)
        joules = 500.0 + self.now_s + (self.busy_w - 1.0) * busy_s
        return RailReading(
            self.now_s,
            0.03,
            (
                Rail("S2M_VDD_CPUCL2", "CPU(BIG)", 0.75 * joules, 1e-4),
                Rail("S5S_VDDQ_MEM", "DDR", 0.25 * joules, 1e-4),
                Rail("VSYS_PWR_DISPLAY", "Display", 99.0 * self.now_s, 1e-4),
            ),
        )

    def gauge(self) -> GaugeReading:
        refreshed_s = self.now_s - self.now_s % self.refresh_s
        # A gauge is never still: the last digit tells one value from the next.
        wobble = int(refreshed_s / self.refresh_s) % 7
        microamperes = round(1e6 * self.watts(refreshed_s) / 3.985) + wobble
        output = gauge_output(f"-{microamperes}", self.battery)
        return power.gauge(output, self.now_s, 0.03)


class Clocked:
    """A reader whose every look is a second later than the one before; ``look`` is at most 150."""

    def __init__(self, phone: MadePhone, look: Callable[[], RailReading | GaugeReading]) -> None:
        self.phone = phone
        self.look = look
        self.looked = asyncio.Event()

    async def read(self) -> RailReading | GaugeReading:
        if self.phone.now_s >= 150.0:
            self.looked.set()
            await asyncio.Event().wait()
        self.phone.now_s += 1.0
        return self.look()


async def measured(
    meter: OdpmMeter | BatteryGaugeMeter, reader: Clocked, driver: DeviceDriver
) -> Energy:
    """The energy of 600 inferences in the minute in which the phone is busy."""
    phone = reader.phone
    await meter.start(driver)
    async with asyncio.timeout(20):
        await reader.looked.wait()
    phone.now_s -= 1.0
    return await meter.stop([Window(phone.busy_from_s, phone.busy_to_s, 600)])


async def test_rails_give_the_energy_that_flowed_within_their_resolution(
    driver: DeviceDriver,
) -> None:
    phone = MadePhone()
    reader = Clocked(phone, phone.rails)
    energy = await measured(OdpmMeter(reader, 0.0, 0.0), reader, driver)  # type: ignore[arg-type]
    assert energy.method == "on-device power rails, sum of S2M_VDD_CPUCL2, S5S_VDDQ_MEM"
    assert energy.resolution_mj is not None
    assert energy.gross_mj == pytest.approx(400.0, abs=energy.resolution_mj)
    assert energy.resolution_mj < 20.0
    assert (energy.interval_s, energy.repeats) == (1.0, 1)


@pytest.mark.parametrize("refresh_s", [2.0, 3.0, 7.0])
async def test_a_gauge_tells_its_own_interval_and_what_it_cannot_tell_apart(
    refresh_s: float, driver: DeviceDriver
) -> None:
    phone = MadePhone(refresh_s)
    reader = Clocked(phone, phone.gauge)
    meter = BatteryGaugeMeter(reader, 0.0, 0.0)  # type: ignore[arg-type]
    energy = await measured(meter, reader, driver)
    assert energy.reason == ""
    assert f"µA (negative while discharging), discharging, new values every {refresh_s:g} s" in (
        energy.method
    )
    assert energy.interval_s == refresh_s
    assert energy.resolution_mj is not None
    assert energy.gross_mj is not None
    assert abs(energy.gross_mj - 400.0) <= energy.resolution_mj
    # Two edges, each known to two refreshes of 4 W.
    assert energy.resolution_mj == pytest.approx(4e3 * 2 * 2 * refresh_s / 600, rel=0.15)


async def test_a_cable_that_is_put_in_during_the_job_ends_the_measurement(
    driver: DeviceDriver,
) -> None:
    phone = MadePhone(2.0)
    reader = Clocked(phone, phone.gauge)
    meter = BatteryGaugeMeter(reader, 0.01, 0.0)  # type: ignore[arg-type]
    await meter.start(driver)
    assert meter.refusal == ""
    phone.battery = CHARGING
    await asyncio.sleep(0.1)
    energy = await meter.stop([Window(1.0, 2.0, 600)])
    assert energy.gross_mj is None
    assert "usb feeds the phone" in energy.reason


async def test_a_phone_that_was_started_anew_tells_no_energy(driver: DeviceDriver) -> None:
    phone = MadePhone()
    reader = Clocked(phone, phone.rails)
    meter = OdpmMeter(reader, 0.01, 0.0)  # type: ignore[arg-type]
    await meter.start(driver)
    phone.busy_w = -1000.0
    phone.now_s = phone.busy_from_s
    await asyncio.sleep(0.1)
    energy = await meter.stop([Window(30.0, 31.0, 600)])
    assert "counter went back" in energy.reason
