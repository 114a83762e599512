"""What went wrong between the agent and an iPhone: whose fault it is, and what helps.

The first question is always whether usbmuxd still lists the phone: a cable that was pulled shows as
whatever was being done then. Only for a phone that is there the name of the library's error and the
phone's own words decide. A fault of the harness is tried again, on another phone where there is
one; a fault of the phone keeps it from work until its remedy was applied; a fault of the model is
the outcome of its measurement.
"""

import re

from distillfarm.agent.drivers.fault import Fault
from distillfarm.domain.errors import Blame

NO_USBMUXD = Fault(
    "no usbmuxd",
    Blame.HARNESS,
    "install it (Debian package usbmuxd) or start it anew: systemctl restart usbmuxd",
)
GONE = Fault(
    "gone",
    Blame.HARNESS,
    "usbmuxd does not list the phone: check cable and hub, then plug it in again",
)
UNTRUSTED = Fault(
    "not trusted",
    Blame.PHONE,
    "unlock the phone and tap Trust; a supervised phone needs no tap, see docs/iphone.md",
)
DENIED = Fault(
    "trust denied",
    Blame.PHONE,
    "somebody tapped Don't Trust: plug the phone in again and tap Trust",
)
NO_IDENTITY = Fault(
    "supervision identity",
    Blame.HARNESS,
    "DISTILLFARM_AGENT_IPHONE_SUPERVISOR names the .p12 or PEM file that Apple Configurator "
    "exported, DISTILLFARM_AGENT_IPHONE_SUPERVISOR_PASSWORD_FILE a file with its password",
)
LOCKED = Fault(
    "locked",
    Blame.PHONE,
    "unlock it; a phone of a lab has no passcode, or Auto-Lock set to Never",
)
NO_DEVELOPER_MODE = Fault(
    "no developer mode",
    Blame.PHONE,
    "turn it on in Settings, Privacy & Security, Developer Mode; the phone restarts for it",
)
NO_IMAGE = Fault(
    "no developer image",
    Blame.PHONE,
    "let this computer reach Apple and GitHub once, or put the image into "
    "~/.pymobiledevice3 beforehand, see docs/iphone.md",
)
NO_APP = Fault(
    "no app",
    Blame.PHONE,
    "build and sign the app (agent/phone/ios) and name its .ipa in DISTILLFARM_AGENT_IPHONE_APP",
)
APP_REFUSED = Fault(
    "app refused",
    Blame.PHONE,
    "sign the app anew with a profile that names this phone and has not expired; on the phone "
    "trust its developer in Settings, General, VPN & Device Management",
)
NO_TUNNEL = Fault(
    "no tunnel",
    Blame.PHONE,
    "iOS 17.0 to 17.3 gives a tunnel to root alone: update the phone to 17.4 or newer",
)
UNKNOWN_MODEL = Fault(
    "unknown model",
    Blame.PHONE,
    "no profile tells its chip and memory: add one of your own, see docs/profiles.md",
)
LOW_POWER = Fault(
    "low power mode", Blame.PHONE, "turn Low Power Mode off in Settings, Battery: it lowers clocks"
)
DISK_FULL = Fault("disk full", Blame.PHONE, "free space on the phone")
SILENT = Fault(
    "silent",
    Blame.HARNESS,
    "usbmuxd lists the phone but it does not answer: plug it in again; where that does not help, "
    "restart the phone",
)
CUT = Fault(
    "cut",
    Blame.HARNESS,
    "the connection ended while the phone stayed listed: the tunnel or a service on it died; what "
    "ran does not count and is run again",
)
REBOOTED = Fault(
    "rebooted",
    Blame.PHONE,
    "the phone restarted under the job: look at its battery and temperature before it works again",
)
UPDATED = Fault(
    "updated",
    Blame.PHONE,
    "the phone has another build now: probe it anew, its measurements begin a new series",
)
NO_EXTRA = Fault("no extra", Blame.HARNESS, "pip install 'distillfarm[ios]'")
UNKNOWN = Fault("unknown", Blame.HARNESS, "see the agent's log, then run it again")

WORKER_ENDED = "WorkerEnded"
"""The kind of a failure that no library raised: its process was lost."""
MISSING = "ModuleNotFoundError"

_KINDS = {
    MISSING: NO_EXTRA,
    "NotPairedError": UNTRUSTED,
    "NotTrustedError": UNTRUSTED,
    "PairingDialogResponsePendingError": UNTRUSTED,
    "InvalidHostIDError": UNTRUSTED,
    "FatalPairingError": UNTRUSTED,
    "UserDeniedPairingError": DENIED,
    "IdentityUnreadable": NO_IDENTITY,
    "PasswordRequiredError": LOCKED,
    "PasscodeRequiredError": LOCKED,
    "DeveloperModeIsNotEnabledError": NO_DEVELOPER_MODE,
    "ImageUnavailable": NO_IMAGE,
    "AppNotInstalledError": NO_APP,
    "AppInstallError": APP_REFUSED,
    "UserspaceTunnelUnavailableError": NO_TUNNEL,
    "ConnectionFailedToUsbmuxdError": NO_USBMUXD,
    "TimeoutError": SILENT,
    WORKER_ENDED: CUT,
}
# The phone's words, in the order of asking; they say more than the kind of error around them.
_WORDS = tuple(
    (re.compile(words, re.IGNORECASE), fault)
    for words, fault in (
        (r"PasswordProtected|DeviceLocked|could not be, unlocked|device is locked", LOCKED),
        (r"developer mode is (not enabled|disabled)", NO_DEVELOPER_MODE),
        (r"invalid code signature|explicitly trusted|ApplicationVerificationFailed", APP_REFUSED),
        (r"profile has expired|MismatchedApplicationIdentifier", APP_REFUSED),
        (r"is not installed|ApplicationLookupFailed|No app with bundle ID", NO_APP),
        (r"no space left|NO_SPACE_LEFT|InsufficientStorage", DISK_FULL),
    )
)
# Services that the developer image brings.
_FROM_IMAGE = re.compile(r"instruments|dtservicehub|DVTSecureSocketProxy", re.IGNORECASE)
_SERVICE_KINDS = ("InvalidServiceError", "StartServiceError")
_CUT_KINDS = re.compile(
    r"Connection|Terminated|IncompleteRead|EOF|BrokenPipe|Mux|Closed|NotConnected|"
    r"BadDev|NoDeviceConnected|DeviceNotFound|^SSL|^OSError$|QueueShutDown"
)


def classify(kind: str, words: str, listed: bool | None) -> Fault:
    """The fault behind an error of the library.

    ``kind`` is the name of the error, ``words`` its text, ``listed`` whether usbmuxd lists the
    phone now: None where nobody knows, for it does not answer.
    """
    if kind == MISSING:
        return NO_EXTRA
    if not listed:
        return NO_USBMUXD if listed is None else GONE
    said = next((fault for pattern, fault in _WORDS if pattern.search(words)), None)
    if said is not None or kind in _KINDS:
        return said or _KINDS[kind]
    if kind in _SERVICE_KINDS and _FROM_IMAGE.search(words):
        return NO_IMAGE
    return CUT if _CUT_KINDS.search(kind) else UNKNOWN
