"""What may happen to an iPhone around a job, and how the job has to end for it."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil
from iphone_phone import NoPhone, Thermal, Trust
from iphone_station import STRIKABLE, Station
from job_endings import Ending

from distillfarm.agent.drivers import fault as drivers
from distillfarm.agent.drivers.ios import faults
from distillfarm.agent.drivers.ios.apps import BUNDLE
from distillfarm.domain.errors import Blame
from distillfarm.domain.measurement import Outcome

Strike = Callable[[Station], None]

# What an app was told of a hot phone is believed for 15 s after it has cooled down.
_COOLING_S = 15.0
_GLITCH_S = 2.0
_ONE: Mapping[str, Any] = STRIKABLE | {"launches": 1}
_TWO: Mapping[str, Any] = STRIKABLE | {"launches": 2}
_OK = Ending(Outcome.OK)
_HARNESS = Ending(None, Blame.HARNESS, retryable=True)
_PHONE = Ending(None, Blame.PHONE, retryable=True)


@dataclass(frozen=True)
class Fault:
    """Something that happens, and how the job should end for it.

    ``strike`` does it: before the job, or ``in_launch`` while its samples are taken. ``mend``
    undoes it: in mid-job after ``mends_after_s``, at the job's end where that is None. ``says`` is
    in the words that the controller gets. ``detect_s`` and ``recover_s`` are its limits, until the
    agent notices or the controller is told and until a launch runs again: generous, for computers
    that do other things besides.
    """

    name: str
    ending: Ending
    strike: Strike
    mend: Strike | None = None
    mends_after_s: float | None = None
    in_launch: bool = True
    spec: Mapping[str, Any] = field(default_factory=lambda: _ONE)
    says: str = ""
    in_tunnel: bool = False
    detect_s: float = 20.0
    recover_s: float = 30.0


def _not_ready(name: str, fault: drivers.Fault, strike: Strike, mend: Strike) -> Fault:
    """What keeps a phone from work before the job."""
    return Fault(name, _PHONE, strike, mend, in_launch=False, says=f": {fault.name}: ")


def _crash(station: Station) -> None:
    """Have the app touch memory that is not its own.

    Raises:
        NoPhone: it does not run.
    """
    container = str(station.phone.container(BUNDLE))
    for process in psutil.Process(station.phone.pid).children(recursive=True):
        if container in process.cmdline():
            process.send_signal(signal.SIGSEGV)
            return
    raise NoPhone(f"{station.phone.udid}: the app does not run")


def _update(station: Station) -> None:
    tunnel = station.phone.identity.system.has_tunnel
    station.phone.update("17.6.1" if tunnel else "16.7.8", "9X1")


FAULTS = (
    _not_ready(
        "trust pending",
        faults.UNTRUSTED,
        lambda on: on.phone.change(trust=Trust.PENDING),
        lambda on: on.phone.change(trust=Trust.GRANTED),
    ),
    _not_ready(
        "trust denied",
        faults.DENIED,
        lambda on: on.phone.change(trust=Trust.DENIED),
        lambda on: on.phone.change(trust=Trust.GRANTED),
    ),
    _not_ready(
        "locked",
        faults.LOCKED,
        lambda on: on.phone.change(locked=True),
        lambda on: on.phone.change(locked=False),
    ),
    _not_ready(
        "developer mode off",
        faults.NO_DEVELOPER_MODE,
        lambda on: on.phone.change(developer_mode=False),
        lambda on: on.phone.change(developer_mode=True),
    ),
    Fault(
        "no developer image",
        _OK,
        lambda on: on.phone.change(image_mounted=False),
        in_launch=False,
    ),
    Fault(
        "cable pulled for good",
        _HARNESS,
        lambda on: on.phone.pull_cable(),
        lambda on: on.phone.plug_in(),
        says=f": {faults.GONE.name}: ",
    ),
    Fault(
        "cable pulled for a moment",
        _OK,
        lambda on: on.phone.pull_cable(),
        lambda on: on.phone.plug_in(),
        mends_after_s=_GLITCH_S,
    ),
    Fault("tunnel dies", _OK, lambda on: on.phone.cut_tunnel(), in_tunnel=True),
    Fault("usbmuxd restarts", _OK, lambda on: on.lab.restart_muxd()),
    Fault(
        "restart in mid-launch",
        Ending(None, Blame.MODEL, retryable=True, felled=True),
        lambda on: on.phone.restart(),
        says=f": {faults.REBOOTED.name}: ",
    ),
    Fault(
        "iOS update between jobs",
        _PHONE,
        _update,
        in_launch=False,
        says=f": {faults.UPDATED.name}: ",
    ),
    Fault("app crashes", Ending(Outcome.CRASHED), _crash, says="EXC_BAD_ACCESS"),
    Fault(
        "jetsam",
        Ending(Outcome.OUT_OF_MEMORY),
        lambda on: on.phone.jetsam(BUNDLE),
    ),
    Fault(
        "heats up in mid-job",
        Ending(Outcome.OVERHEATED),
        lambda on: on.phone.change(thermal=Thermal.SERIOUS),
        lambda on: on.phone.change(thermal=Thermal.NOMINAL),
        spec=_TWO,
        says="thermal state serious",
        detect_s=30.0,
        recover_s=30.0 + _COOLING_S,
    ),
    Fault(
        "low power mode in mid-job",
        _PHONE,
        lambda on: on.phone.change(low_power_mode=True),
        lambda on: on.phone.change(low_power_mode=False),
        spec=_TWO,
        says=f": {faults.LOW_POWER.name}: ",
        recover_s=30.0 + _COOLING_S,
    ),
)
