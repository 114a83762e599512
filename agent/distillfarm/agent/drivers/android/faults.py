"""What went wrong between the agent and a phone: whose fault it is, and what helps.

The words are those of the adb server, the adb program and AOSP's adbd. A fault of the harness is
tried again, on another phone where there is one; a fault of the phone keeps the phone from work
until its remedy was applied; a fault of the model is the outcome of its measurement.
"""

import re

from distillfarm.agent.drivers.fault import Fault
from distillfarm.domain.errors import Blame, NoCapacity

UNAUTHORIZED = Fault(
    "unauthorized",
    Blame.PHONE,
    "unlock the phone and accept this computer's key; keep ADB_VENDOR_KEYS in one lasting folder",
)
NO_PERMISSIONS = Fault(
    "no permissions",
    Blame.PHONE,
    "install the udev rules (Debian package android-sdk-platform-tools-common) and plug in again",
)
DISK_FULL = Fault(
    "disk full",
    Blame.PHONE,
    "free space on the phone's /data; what was sent earlier lies in /data/local/tmp/distillfarm",
)
REFUSED = Fault(
    "refused",
    Blame.PHONE,
    "the folder is not the shell user's to write; use one under /data/local/tmp",
)
UNREACHABLE = Fault(
    "unreachable",
    Blame.PHONE,
    "adb does not run at that address: turn on debugging over Wi-Fi or plug in by USB",
)
GONE = Fault(
    "gone",
    Blame.HARNESS,
    "adb does not know the phone: check cable and hub, or connect again where it is on Wi-Fi",
)
OFFLINE = Fault(
    "offline",
    Blame.HARNESS,
    "disconnect and connect again; where that does not help, switch its port of the hub off and on",
)
SILENT = Fault(
    "silent",
    Blame.HARNESS,
    "adb lists the phone but it does not answer: check the link, then connect again",
)
CUT = Fault(
    "cut",
    Blame.HARNESS,
    "the stream ended without an exit code: the link or the phone's adbd died; run it again",
)
NO_SERVER = Fault(
    "no adb server",
    Blame.HARNESS,
    "install adb and start it by `adb start-server`; phones on Wi-Fi have to be connected again",
)
VANISHED = Fault(
    "vanished",
    Blame.HARNESS,
    "the whole job was ended from outside on a phone that runs on: is there another agent, or a "
    "person at its shell? run it again",
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
UNKNOWN = Fault("unknown", Blame.HARNESS, "see the agent's log, then run it again")

# In the order of asking: the first that is found decides.
_WORDS = tuple(
    (re.compile(words, re.IGNORECASE), fault)
    for words, fault in (
        (r"unauthorized|failed to authenticate", UNAUTHORIZED),
        (r"no permissions|insufficient permissions", NO_PERMISSIONS),
        (r"no space left|disk quota exceeded", DISK_FULL),
        (r"couldn't create file|read-only file system", REFUSED),
        (r"connect to adb server|cannot connect to daemon|no adb exe", NO_SERVER),
        (r"(failed|unable) to connect to|no route to host", UNREACHABLE),
        (r"offline", OFFLINE),
        (r"device .*not found|no such device|no devices", GONE),
        (r"closed|reset by peer|broken pipe|\bEOF\b|protocol fault", CUT),
        (r"timed? ?out", SILENT),
    )
)
_SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV"}
_SHELL_OF_SIGNAL = 128


class PhoneFull(NoCapacity):
    """The phone has no room; another may have, and this one needs a person."""

    blame = Blame.PHONE

    def __init__(self, serial: str, words: str) -> None:
        super().__init__(f"{serial}: {words.strip()}; {DISK_FULL.remedy}")


def classify(words: str) -> Fault:
    """The fault that these words of adb mean."""
    return next((fault for pattern, fault in _WORDS if pattern.search(words)), UNKNOWN)


def classify_state(state: str | None) -> Fault | None:
    """The fault behind a state of ``adb devices``; None for ``device``, which still may lie.

    ``state`` is None where the list does not hold the phone.
    """
    if state == "device":
        return None
    if state is None:
        return GONE
    fault = classify(state)
    return OFFLINE if fault is UNKNOWN else fault


def classify_exit(code: int) -> Fault | None:
    """What the exit code of a runner says: None for a good end.

    A signal that only the program itself can cause is the model's doing. SIGKILL comes from
    Android when memory runs short, which the model's size decides. 126 and 127 are the shell's:
    the runner is not there or not for this phone.
    """
    if code == 0:
        return None
    if code in (126, 127):
        return Fault(
            "no runner", Blame.HARNESS, "push the runner again, built for this phone's ABI"
        )
    signal = code - _SHELL_OF_SIGNAL
    if signal in _SIGNALS:
        name = _SIGNALS[signal]
        return Fault(f"crash by {name}", Blame.MODEL, "try another runtime, delegate or export")
    if signal == 9:  # noqa: PLR2004 - SIGKILL has this number on every Linux
        return Fault("killed", Blame.MODEL, "the phone ran out of memory: try a smaller variant")
    return Fault(f"exit code {code}", Blame.MODEL, "read the runner's own words beside it")
