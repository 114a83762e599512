"""Failures on the way to an iPhone: whose fault each is, by whether it is listed and by words."""

import pytest

from distillfarm.agent.drivers.fault import Fault, PhoneFault
from distillfarm.agent.drivers.ios import faults
from distillfarm.agent.drivers.ios.faults import classify
from distillfarm.domain.errors import Blame


@pytest.mark.parametrize(
    ("kind", "words", "fault"),
    [
        ("NotPairedError", "", faults.UNTRUSTED),
        ("PairingDialogResponsePendingError", "", faults.UNTRUSTED),
        ("UserDeniedPairingError", "", faults.DENIED),
        (
            "StartServiceError",
            "Failed to start: com.apple.mobile.house_arrest with. Received error: "
            "PasswordProtected.",
            faults.LOCKED,
        ),
        (
            "DTXNsError",
            "Unable to launch org.x because the device was not, or could not be, unlocked.",
            faults.LOCKED,
        ),
        ("DeveloperModeIsNotEnabledError", "", faults.NO_DEVELOPER_MODE),
        ("InvalidServiceError", "com.apple.instruments.dtservicehub", faults.NO_IMAGE),
        ("ImageUnavailable", "ConnectionError: raw.githubusercontent.com", faults.NO_IMAGE),
        (
            "DTXNsError",
            "The application identified by “org.x” is not installed",
            faults.NO_APP,
        ),
        ("AppInstallError", "0xe8008012", faults.APP_REFUSED),
        (
            "DTXNsError",
            "its profile has not been explicitly trusted by the user",
            faults.APP_REFUSED,
        ),
        ("UserspaceTunnelUnavailableError", "iOS 17.2", faults.NO_TUNNEL),
        ("TimeoutError", "", faults.SILENT),
        ("ConnectionTerminatedError", "", faults.CUT),
        ("IncompleteReadError", "0 bytes read", faults.CUT),
        (faults.WORKER_ENDED, "Killed", faults.CUT),
        ("AfcException", "no space left on device (AFC status NO_SPACE_LEFT)", faults.DISK_FULL),
        ("ValueError", "something new", faults.UNKNOWN),
    ],
)
def test_what_a_listed_phone_did_is_told_by_its_words(kind: str, words: str, fault: Fault) -> None:
    assert classify(kind, words, listed=True) is fault


@pytest.mark.parametrize("kind", ["ConnectionTerminatedError", "TimeoutError", "NotPairedError"])
def test_whatever_fails_on_a_phone_that_is_not_listed_is_the_cable(kind: str) -> None:
    assert classify(kind, "PasswordProtected", listed=False) is faults.GONE
    assert classify(kind, "", listed=None) is faults.NO_USBMUXD


def test_a_missing_library_is_named_whether_or_not_a_phone_is_there() -> None:
    for listed in (True, False, None):
        assert classify("ModuleNotFoundError", "", listed) is faults.NO_EXTRA


def test_a_fault_names_the_phone_and_the_remedy_and_who_is_to_blame() -> None:
    error = PhoneFault("udid-1", faults.LOCKED, "it said so")
    assert str(error).startswith("udid-1: locked: it said so; unlock it")
    assert error.blame is Blame.PHONE
    assert error.retryable


def test_every_fault_has_a_remedy() -> None:
    known = [each for each in vars(faults).values() if isinstance(each, Fault)]
    assert len(known) > 15
    assert all(each.remedy and each.blame is not Blame.MODEL for each in known)
