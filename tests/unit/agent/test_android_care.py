"""When a phone is fit for work, and what an operator is told about one that is not."""

from pathlib import Path

import pytest

from distillfarm.agent.drivers.android import care, gates, state
from distillfarm.agent.drivers.android.care import ChargeHistory
from distillfarm.agent.drivers.android.checkup import fitness, unlisted
from distillfarm.agent.drivers.android.readings import Battery, Temperature
from distillfarm.agent.drivers.android.state import State
from distillfarm.agent.drivers.android.usb import UsbPhone, usb_phones
from distillfarm.agent.drivers.finding import Finding, Grade

DAY_S = 86400.0


def battery(percent: float = 80.0, **changed: object) -> Battery:
    told: dict[str, object] = {
        "status": "discharging",
        "health": "good",
        "temperature_c": 25.0,
        "voltage_mv": 4000,
        "sources": (),
        "simulated": False,
    } | changed
    return Battery(percent=percent, **told)  # type: ignore[arg-type]


def looked(charge: Battery | None = None, skin_c: float | None = None, **changed: object) -> State:
    told: dict[str, object] = {
        "battery": charge if charge is not None else battery(),
        "sensors": () if skin_c is None else (Temperature("skin", "skin", skin_c),),
        "throttling": 0,
        "awake": True,
        "radios": "airplane mode",
        "busy_cores": 0.1,
        "boot_id": None,
        "clocks_khz": (),
    } | changed
    return State(**told)  # type: ignore[arg-type]


def test_a_sound_phone_has_no_trouble() -> None:
    assert care.trouble(looked()) == ""


@pytest.mark.parametrize(
    ("sick", "word"),
    [
        (looked(battery(health="over voltage")), "over voltage"),
        (looked(battery(simulated=True)), "cmd battery reset"),
        (looked(skin_c=50.0), "50.0 °C"),
        (looked(battery(percent=3.0)), "charge it"),
    ],
)
def test_a_sick_phone_says_what_ails_it(sick: State, word: str) -> None:
    assert word in care.trouble(sick)
    assert care.health("serial", sick, 7.0).trouble == care.trouble(sick)


def test_a_state_that_tells_nothing_is_no_trouble_and_no_number() -> None:
    silent = state.parse("")
    assert care.trouble(silent) == ""
    told = care.health("serial", silent, 7.0)
    assert (told.battery_percent, told.temperature_c, told.throttling) == (None, None, None)
    assert set(silent.context().values()) == {state.UNREADABLE}


def test_health_tells_charge_source_and_temperature() -> None:
    told = care.health(
        "serial", looked(battery(55.0, status="charging", sources=("usb",)), 31.5), 7.0
    )
    assert (told.battery, told.battery_percent, told.temperature_c) == (
        "charging by usb",
        55.0,
        31.5,
    )


def test_a_battery_is_full_since_it_was_first_seen_full_and_fed(tmp_path: Path) -> None:
    history = ChargeHistory(tmp_path / "phones" / "one.charge.json")
    full = looked(battery(100.0, sources=("usb",)))
    history.note(full, 10.0)
    history.note(full, 20.0)
    assert ChargeHistory(history.path).full_since_s() == 10.0
    history.note(looked(battery(90.0, sources=("usb",))), 30.0)
    assert history.full_since_s() is None
    history.note(looked(battery(100.0)), 40.0)
    assert history.full_since_s() is None


def test_a_damaged_history_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("{")
    assert ChargeHistory(tmp_path / "one.json").full_since_s() is None


def grades(found: list[Finding]) -> list[Grade]:
    return [each.grade for each in found]


def test_weeks_at_a_hundred_percent_are_told() -> None:
    full = looked(battery(100.0, sources=("usb",)))
    assert list(fitness("phone", full, 0.0, 13 * DAY_S)) == []
    (found,) = fitness("phone", full, 0.0, 21 * DAY_S)
    assert "21 days" in found.text
    assert found.grade is Grade.POOR


def test_a_low_battery_that_nothing_feeds_is_to_be_charged() -> None:
    (unfed,) = fitness("phone", looked(battery(12.0)), None, 0.0)
    assert "charge it" in unfed.remedy
    (fed,) = fitness("phone", looked(battery(12.0, sources=("ac",))), None, 0.0)
    assert fed.remedy == ""


def test_with_nothing_on_usb_the_way_to_debugging_is_told() -> None:
    (found,) = unlisted((), {})
    assert "build number" in found.remedy


def test_what_hangs_on_usb_and_is_not_listed_is_told() -> None:
    silent = UsbPhone("Google Pixel 8", "38A", "1-2", 480.0, debugging=False)
    lost = UsbPhone("Google Pixel 9", "39A", "1-3", 480.0, debugging=True)
    slow = UsbPhone("Google Pixel 7", "37A", "1-4", 12.0, debugging=True)
    found = list(unlisted((silent, lost, slow), {"37A": "device"}))
    assert grades(found) == [Grade.BAD, Grade.BAD, Grade.POOR]
    assert "turn on USB debugging" in found[0].remedy
    assert "kill-server" in found[1].remedy
    assert "another cable or a hub" in found[2].remedy


def usb_device(folder: Path, port: str, interface: dict[str, str], **facts: str) -> None:
    device = folder / port
    place = device / f"{port}:1.0"
    place.mkdir(parents=True)
    for name, value in ({"idVendor": "18d1"} | facts).items():
        (device / name).write_text(value + "\n")
    for name, value in interface.items():
        (place / name).write_text(value + "\n")


def test_phones_are_known_by_their_interfaces(tmp_path: Path) -> None:
    adb = {"bInterfaceClass": "ff", "bInterfaceSubClass": "42", "bInterfaceProtocol": "01"}
    usb_device(
        tmp_path, "1-1", adb, product="Pixel 8", manufacturer="Google", serial="A", speed="480"
    )
    usb_device(tmp_path, "1-2", {"bInterfaceClass": "06"}, product="Galaxy", speed="12")
    usb_device(tmp_path, "1-3", {"bInterfaceClass": "03"}, product="Mouse")
    assert usb_phones(tmp_path) == (
        UsbPhone("Google Pixel 8", "A", "1-1", 480.0, debugging=True),
        UsbPhone("Galaxy", "", "1-2", 12.0, debugging=False),
    )
    assert usb_phones(tmp_path)[1].slow
    assert usb_phones(tmp_path / "nothing") == ()


@pytest.mark.parametrize(
    ("shut", "name"),
    [
        (looked(skin_c=41.0), "temperature"),
        (looked(throttling=1), "throttling"),
        (looked(battery(10.0)), "battery"),
        (looked(awake=False), "screen"),
        (looked(busy_cores=2.5), "quiet"),
        (looked(radios="radios on, Wi-Fi on"), "radios"),
    ],
)
async def test_a_gate_names_its_limit(shut: State, name: str) -> None:
    async def look(newer_than_s: float) -> State:
        return shut

    reasons = {each.name: await each.closed(None) for each in gates.gates(look, by_cable=True)}  # type: ignore[arg-type]
    assert [gate for gate, reason in reasons.items() if reason] == [name]


async def test_what_cannot_be_read_shuts_no_gate() -> None:
    async def look(newer_than_s: float) -> State:
        return state.parse("")

    assert not any([await each.closed(None) for each in gates.gates(look, by_cable=True)])  # type: ignore[arg-type]


async def test_a_phone_on_the_network_may_have_its_radios_on() -> None:
    async def look(newer_than_s: float) -> State:
        return looked(radios="radios on, Wi-Fi on")

    shut = [await each.closed(None) for each in gates.gates(look, by_cable=False)]  # type: ignore[arg-type]
    assert not any(shut)
