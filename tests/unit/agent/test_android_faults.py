"""Every failure of adb has one who is to blame and a remedy, from adb's recorded words."""

from pathlib import Path

import pytest

from distillfarm.agent.drivers.android import faults
from distillfarm.agent.drivers.fault import Fault, PhoneFault
from distillfarm.domain.errors import Blame, DeviceOffline

GOLDEN = Path(__file__).parents[2] / "golden" / "android"


def test_the_recorded_errors_are_told_apart() -> None:
    errors = (GOLDEN / "adb_errors.txt").read_text().split("---\n")
    assert [faults.classify(words) for words in errors[:6]] == [
        faults.UNAUTHORIZED,
        faults.OFFLINE,
        faults.REFUSED,
        faults.REFUSED,
        faults.UNAUTHORIZED,
        faults.UNREACHABLE,
    ]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("device '10.0.0.1:5555' not found", faults.GONE),
        ("write failed: No space left on device", faults.DISK_FULL),
        ("connect to adb server failed: [Errno 111] Connection refused", faults.NO_SERVER),
        ("adb read timeout", faults.SILENT),
        ("[Errno 104] Connection reset by peer", faults.CUT),
        ("closed", faults.CUT),
        (
            "no permissions (user in plugdev group; are your udev rules wrong?)",
            faults.NO_PERMISSIONS,
        ),
        ("already connected to 10.0.0.1:5555", faults.UNKNOWN),
    ],
)
def test_adbs_words_name_the_fault(words: str, fault: Fault) -> None:
    assert faults.classify(words) == fault


def test_the_recorded_states_are_told_apart() -> None:
    lines = (GOLDEN / "adb_devices_states.txt").read_text().splitlines()[1:]
    states = {line.split()[0]: line.split()[1] for line in lines if line}
    assert {serial: faults.classify_state(state) for serial, state in states.items()} == {
        "10.77.1.2:5555": faults.OFFLINE,
        "10.77.2.2:5555": None,
        "127.0.0.1:5701": None,
        "127.0.0.1:5702": faults.UNAUTHORIZED,
    }
    assert faults.classify_state(None) is faults.GONE
    assert faults.classify_state("recovery") is faults.OFFLINE


@pytest.mark.parametrize(
    ("code", "blame"),
    [
        (0, None),
        (139, Blame.MODEL),
        (134, Blame.MODEL),
        (137, Blame.MODEL),
        (3, Blame.MODEL),
        (127, Blame.HARNESS),
    ],
)
def test_an_exit_code_is_the_models_unless_the_runner_is_missing(
    code: int, blame: Blame | None
) -> None:
    fault = faults.classify_exit(code)
    assert (fault and fault.blame) == blame


def test_the_error_names_the_phone_the_fault_and_the_remedy() -> None:
    error = PhoneFault("R5CX", faults.OFFLINE, "error: device offline\n")
    assert isinstance(error, DeviceOffline)
    assert str(error).startswith("R5CX: offline: error: device offline; disconnect and connect")
