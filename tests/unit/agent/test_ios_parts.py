"""The iOS driver's decisions: crash reports, facts, room, gates, packages, expiry, health."""

import json
from pathlib import Path

import pytest

from distillfarm.agent.drivers.fault import Fault
from distillfarm.agent.drivers.finding import Grade
from distillfarm.agent.drivers.ios import care, checkup, crashes, faults, gates, preflight
from distillfarm.agent.drivers.ios.apps import read_package
from distillfarm.agent.drivers.ios.crashes import Cause
from distillfarm.agent.drivers.ios.facts import device_info
from distillfarm.agent.drivers.ios.files import digest_of, evictions
from distillfarm.agent.drivers.ios.job_files import Conditions, Thermal
from distillfarm.agent.drivers.ios.protocol import Condition, Folder, Identity, Report
from distillfarm.agent.drivers.ios.state import State
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Chipset
from distillfarm.profiles.catalog import shipped

DAY_S = 86400.0
COOL, HOT = Conditions(Thermal.NOMINAL, False), Conditions(Thermal.SERIOUS, True)


def identity(**told: object) -> Identity:
    known: dict[str, object] = {
        "udid": "u",
        "product": "iPhone16,1",
        "version": "17.5.1",
        "build": "21F90",
        "board": "D83AP",
        "platform": "t8130",
        "name": "lab",
        "paired": True,
        "locked": False,
        "developer_mode": True,
    }
    return Identity(**(known | told))  # type: ignore[arg-type]


def report(name: str, **body: object) -> Report:
    return Report(name, f'{{"bug_type":"309"}}\n{json.dumps(body)}')


CRASH = report(
    "Runner-2026.ips",
    pid=7,
    exception={"type": "EXC_BAD_ACCESS", "signal": "SIGSEGV"},
    termination={"namespace": "SIGNAL", "indicator": "Segmentation fault: 11"},
)
JETSAM = report(
    "JetsamEvent-2026.ips",
    processes=[{"pid": 1, "name": "launchd"}, {"pid": 7, "reason": "per-process-limit"}],
)


def test_a_crash_is_told_in_the_words_of_its_report() -> None:
    words = "EXC_BAD_ACCESS SIGSEGV SIGNAL Segmentation fault: 11"
    assert crashes.cause([CRASH], 7) == Cause(words)


def test_memory_that_ran_short_is_told_apart_from_a_crash() -> None:
    assert crashes.cause([JETSAM], 7) == Cause("jetsam: per-process-limit", out_of_memory=True)


@pytest.mark.parametrize(
    "found",
    [[], [CRASH, JETSAM], [Report("Runner.ips", "")], [Report("JetsamEvent.ips", "{}\n[1]")]],
)
def test_a_report_about_another_process_or_about_nothing_says_nothing(found: list[Report]) -> None:
    assert crashes.cause(found, 8) is None


def test_what_ran_beside_a_killed_process_was_not_killed() -> None:
    assert crashes.cause([JETSAM], 1) is None


def test_a_phone_is_known_by_its_product_type() -> None:
    info = device_info(identity(), 6, shipped())
    assert info is not None
    assert (info.model, info.chipset) == ("iPhone16,1", Chipset("Apple", "A17 Pro"))
    assert (info.memory_bytes, info.cores) == (8 * 2**30, 6)
    assert (info.os_name, info.os_build) == ("iOS 17.5.1", "21F90")


def test_a_model_without_a_profile_is_not_guessed_at() -> None:
    assert device_info(identity(product="iPhone77,7"), 6, shipped()) is None


def test_a_system_without_a_phone_around_it_is_emulated() -> None:
    info = device_info(identity(virtual=True), 6, shipped())
    assert info is not None
    assert info.emulated


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({}, None),
        ({"paired": False, "locked": None}, faults.UNTRUSTED),
        ({"locked": True}, faults.LOCKED),
        ({"developer_mode": False}, faults.NO_DEVELOPER_MODE),
        ({"developer_mode": False, "version": "15.8"}, None),
    ],
)
def test_what_a_person_has_to_do_first(told: dict[str, object], fault: Fault | None) -> None:
    assert preflight.obstacle(identity(**told)) is fault


OLD, NEW = Folder("old", 60, 1.0), Folder("new", 50, 2.0)


@pytest.mark.parametrize(
    ("size", "limit", "free", "dropped"),
    [
        (10, 200, 1000, ()),
        (10, 110, 1000, ("old",)),
        (100, 110, 1000, ("old", "new")),
        (200, 110, 1000, None),
        (10, 1000, 30, ("old",)),
        (10, 1000, None, ()),
    ],
)
def test_the_oldest_files_make_room(
    size: int, limit: int, free: int | None, dropped: tuple[str, ...] | None
) -> None:
    assert evictions((NEW, OLD), size, limit, free, reserve_bytes=40) == dropped


def test_only_what_was_pushed_is_a_model() -> None:
    digest = "0f" * 32
    assert digest_of(f"cache/{digest}/model.onnx") == digest
    for place in ("model.onnx", f"cache/{digest}/../x", f"/cache/{digest}/x"):
        with pytest.raises(InvalidRequest):
            digest_of(place)


def test_gates_judge_what_the_phone_and_its_app_tell() -> None:
    ready = State(Condition(locked=False, battery_percent=80, battery_c=30.0), COOL)
    worn = State(Condition(locked=True, battery_percent=12, battery_c=41.0), HOT)
    judges = (gates.throttled, gates.hot, gates.empty, gates.locked, gates.saving)
    assert [judge(ready) for judge in judges] == [None] * 5
    assert [judge(State(Condition())) for judge in judges] == [None] * 5
    assert [judge(worn) for judge in judges] == [
        "thermal state serious",
        "battery at 41.0 °C, limit 38",
        "battery at 12 %, need 20",
        "it is locked",
        "it is in low power mode",
    ]


def test_health_says_what_is_known_and_what_is_wrong() -> None:
    told = care.health("u", State(Condition(battery_percent=3, charging=False), HOT), 9.0)
    assert (told.battery_percent, told.throttling, told.battery) == (3, 3, "not charging")
    assert "cable" in told.trouble
    assert care.health("u", State(Condition()), 9.0).trouble == ""


@pytest.mark.parametrize(
    ("left_s", "grade"),
    [(30 * DAY_S, Grade.GOOD), (2 * DAY_S, Grade.POOR), (-1.0, Grade.BAD), (None, Grade.POOR)],
)
def test_a_signature_is_judged_by_the_days_that_are_left(
    left_s: float | None, grade: Grade
) -> None:
    ends_s = None if left_s is None else 1000.0 + left_s
    found = checkup.expiry("app", "app 1", ends_s, 1000.0)
    assert found.grade is grade
    assert bool(found.remedy) is (grade is not Grade.GOOD)


def test_a_file_that_is_no_package_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.ipa"
    path.write_bytes(b"x")
    with pytest.raises(InvalidRequest, match=r"x\.ipa is no signed app"):
        read_package(path)


def test_firmware_and_what_ios_keeps_to_itself_are_told() -> None:
    info = device_info(identity(firmware="iBoot-10151.120", baseband="1.60.02"), 6, shipped())
    assert info is not None
    assert info.firmware == "iBoot-10151.120; baseband 1.60.02"
    told = State(Condition(), COOL).context()
    assert told["cpu_mhz"] == "iOS tells no clocks"
    assert told["affinity"] == "iOS alone chooses the cores"
