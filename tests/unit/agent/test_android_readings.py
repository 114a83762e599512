"""How a phone fares, from recorded outputs of real phones."""

from pathlib import Path

import pytest

from distillfarm.agent.drivers.android import readings
from distillfarm.agent.drivers.android.readings import Battery, Disk, Temperature

GOLDEN = Path(__file__).parents[2] / "golden" / "android"


def recorded(name: str) -> str:
    return (GOLDEN / name).read_text()


def test_a_charged_phone_on_usb_beside_its_makers_own_lines() -> None:
    assert readings.battery(recorded("dumpsys_battery_samsung_usb.txt")) == Battery(
        100.0, "full", "good", 30.9, 4312, ("usb",), simulated=False
    )


def test_a_phone_on_its_battery() -> None:
    assert readings.battery(recorded("dumpsys_battery_oneplus7_discharging.txt")) == Battery(
        77.0, "discharging", "good", 29.4, 3985, (), simulated=False
    )


def test_a_battery_whose_updates_were_stopped_is_no_witness() -> None:
    text = recorded("dumpsys_battery_oneplus7_discharging.txt")
    stopped = readings.battery(f"  (UPDATES STOPPED -- use 'reset' to restart)\n{text}")
    assert stopped is not None
    assert stopped.simulated


@pytest.mark.parametrize(
    "output",
    [
        "",
        "Can't find service: battery",
        "  level: many\n  scale: 100\n",
        "  level: 5\n  scale: 0\n",
    ],
)
def test_no_battery_is_made_up(output: str) -> None:
    assert readings.battery(output) is None


def test_only_what_the_thermal_layer_says_now_counts() -> None:
    output = recorded("dumpsys_thermalservice_xiaomi13tpro_a16.txt")
    assert "84.208" in output
    assert readings.temperatures(output) == (
        Temperature("CPU", "cpu", 57.9),
        Temperature("SKIN", "skin", 34.351),
    )
    assert readings.thermal_status(output) == 0


def test_a_throttling_phone_says_which_sensor() -> None:
    output = recorded("dumpsys_thermalservice_galaxya24_throttling.txt")
    found = readings.temperatures(output)
    assert found is not None
    assert found[0] == Temperature("AP", "cpu", 40.1, severity=1)
    assert [each.name for each in found] == ["AP", "SKIN", "BAT", "PATHM"]
    assert readings.thermal_status(output) == 2


def test_cached_temperatures_are_no_temperatures() -> None:
    output = recorded("dumpsys_thermalservice_shieldtv2019_head.txt")
    assert readings.temperatures(output) is None
    not_ready = recorded("dumpsys_thermalservice_xiaomi13tpro_a16.txt").replace(
        "HAL Ready: true", "HAL Ready: false"
    )
    assert readings.temperatures(not_ready) is None
    assert readings.thermal_status("Can't find service: thermalservice") is None


def test_currents_and_missing_values_are_no_temperatures() -> None:
    output = (
        "Current temperatures from HAL:\n"
        "\tTemperature{mValue=2800.0, mType=7, mName=ibat, mStatus=0}\n"
        "\tTemperature{mValue=NaN, mType=3, mName=skin, mStatus=0}\n"
    )
    assert readings.temperatures(output) is None


@pytest.mark.parametrize(
    ("raw", "celsius"),
    [
        (42300, 42.3),
        (423, 42.3),
        (42, 42.0),
        (0, None),
        (-40000, None),
        (-274000, None),
        (2400, None),
        (215000, None),
    ],
)
def test_a_zone_counts_in_one_of_three_units(raw: int, celsius: float | None) -> None:
    assert readings.zone_celsius(raw) == celsius


def test_zones_that_carry_a_charge_or_cannot_be_read_are_left_out() -> None:
    folder = "/sys/class/thermal/thermal_zone"
    output = (
        f"{folder}0/type:cpu-0-0\n{folder}1/type:soc\n{folder}2/type:skin\n{folder}10/type:battery\n"
        f"{folder}0/temp:38100\n{folder}1/temp:77\n{folder}10/temp:294\n"
        f"grep: {folder}2/temp: Invalid argument\n"
    )
    assert readings.zones(output) == (
        Temperature("cpu-0-0", "", 38.1),
        Temperature("battery", "", 29.4),
    )


def test_a_boot_has_a_name_or_none() -> None:
    name = "9ae1e2f3-2c58-4e19-9f0a-1c1d3a0b4f55"
    assert readings.boot_id(f"{name}\n") == name
    assert readings.boot_id("cat: boot_id: Permission denied") is None


def test_free_space_is_in_bytes_whatever_is_printed_before_it() -> None:
    assert readings.disk(recorded("df_full.txt")) == Disk(524288 * 1024, 96296 * 1024)
    assert readings.disk("df: /data: No such file or directory") is None


def test_context_holds_what_is_known_and_no_more() -> None:
    charge = readings.battery(recorded("dumpsys_battery_samsung_usb.txt"))
    told = readings.context(charge, (Temperature("SKIN", "skin", 34.351),), 0)
    assert told == {
        "temperature_SKIN_c": "34.4",
        "battery": "full 100 %",
        "battery_c": "30.9",
        "thermal_status": "0",
    }
    assert readings.context(None, (), None) == {}
