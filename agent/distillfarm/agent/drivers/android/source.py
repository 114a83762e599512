"""Finds the Android phones that adb lists on this computer, and keeps those on the network."""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from distillfarm.agent.drivers.android import faults, gates, link, shell
from distillfarm.agent.drivers.android.apps import stored_apps
from distillfarm.agent.drivers.android.care import ChargeHistory, health
from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.hub import reviver
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.meters import meters
from distillfarm.agent.drivers.android.power import PhoneGauge, PhoneRails
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.meters.phone import phone_energy
from distillfarm.agent.phone_runtimes import RuntimeStore
from distillfarm.agent.protocols import Attached
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.errors import DeviceOffline, DeviceTimeout, DigestMismatch
from distillfarm.domain.hardware import DeviceHealth, Target, parse_target

TARGETS = tuple(
    map(
        parse_target,
        (
            "onnxruntime/cpu",
            "onnxruntime/xnnpack",
            "onnxruntime/nnapi/npu",
            "onnxruntime/qnn/npu",
            "litert/xnnpack",
            "litert/none",
            "litert/gpu/gpu",
            "litert/nnapi/npu",
        ),
    )
)
_HERE = "127.0.0.1"
_LOOK_S = 2.0
# A job's own looks are young enough: it is not disturbed for this.
_HEALTH_AGE_S = 25.0
# A phone that is away for less than this was never gone: adb drops them on every glitch.
GRACE_S = 15.0
_START_S = 20.0

_log = structlog.get_logger(__name__)


@dataclass
class _Phone:
    """A phone that was seen; ``present`` is whether it counts as attached.

    ``build`` is the one that it was attached with, empty until it was asked.
    """

    attached: Attached
    driver: AndroidDriver
    seen_s: float
    present: bool = True
    build: str = ""


class AndroidSource:
    """A ``protocols.DeviceSource`` of all phones of one adb server.

    The server is started where none runs and ``adb_start`` allows it; phones at the settings'
    ``adb_addresses`` are connected, and again when the server forgot them. ``targets`` are tried on
    each.
    """

    def __init__(self, settings: AgentSettings, targets: Sequence[Target] = TARGETS) -> None:
        self._settings = settings
        self._targets = targets
        self._client = shell.adb_client(port=settings.adb_port)
        self._store = RuntimeStore(settings.runtimes)
        self._phones: dict[str, _Phone] = {}
        self._said: dict[str, str] = {}

    async def watch(self) -> AsyncIterator[tuple[Attached, ...]]:
        """The phones that can be used; what keeps another from it stands in the log."""
        programs = self._programs()
        before: tuple[str, ...] | None = None
        while True:
            states = await asyncio.to_thread(self._states)
            self._mark(states)
            changed = self._updated()
            if (now := self._programs()) != programs:
                programs, changed = now, set(self._phones)
            for serial in changed:
                self._phones[serial].driver.forget()
            present = tuple(sorted(serial for serial, each in self._phones.items() if each.present))
            if changed & set(present):
                # Gone for a moment and back: then they are probed anew.
                yield self._attached(set(present) - changed)
                before = None
            if present != before:
                before = present
                yield self._attached(present)
            await asyncio.sleep(_LOOK_S)

    def _attached(self, serials: Collection[str]) -> tuple[Attached, ...]:
        return tuple(self._phones[serial].attached for serial in sorted(serials))

    def _updated(self) -> set[str]:
        """The phones that were found with another build since the last time of asking."""
        found = set()
        for serial, phone in self._phones.items():
            build = phone.driver.build or phone.build
            if phone.build and build != phone.build:
                found.add(serial)
            phone.build = build
        return found

    def _programs(self) -> tuple[tuple[str, ...], ...]:
        """What the store holds; another answer may let more run on the phones."""
        try:
            kept = self._store.entries()
        except DigestMismatch as error:
            self._say("runtimes", str(error))
            return ()
        return tuple((each.record.name, each.record.flavour, each.record.version) for each in kept)

    def _mark(self, states: dict[str, str]) -> None:
        now_s = time.monotonic()
        for serial, listed in states.items():
            fault = faults.classify_state(listed)
            self._say(serial, "" if fault is None else f"{fault.name}; {fault.remedy}")
            if fault is not None:
                continue
            phone = self._phones.get(serial)
            if phone is None:
                phone = self._phones[serial] = self._new(serial)
            phone.seen_s, phone.present = now_s, True
        for phone in self._phones.values():
            if phone.seen_s < now_s - GRACE_S:
                phone.present = False

    def _new(self, serial: str) -> _Phone:
        settings = self._settings
        by_network = ":" in serial
        line = PhoneLine(
            self._client,
            serial,
            address=serial if by_network else "",
            patience_s=settings.link_patience_s,
            revive=reviver(settings.revive_command, serial),
        )
        guard = SettingsGuard(_kept(settings, serial, "settings"), by_cable=not by_network)
        driver = AndroidDriver(line, guard, stored_apps(self._store), self._targets)
        history = charge_history(settings, serial)

        async def fares() -> DeviceHealth:
            state = await driver.look(newer_than_s=_HEALTH_AGE_S)
            history.note(state, time.time())
            return health(serial, state, time.time())

        attached = Attached(
            serial=serial,
            driver=driver,
            gates=gates.gates(driver.look, by_cable=not by_network),
            meters=meters(driver),
            energy=phone_energy(
                serial, PhoneRails(line), PhoneGauge(line), settings.external_meters
            ),
            patience_s=settings.gate_patience_s,
            required_patience_s=settings.phone_patience_s,
            health=fares,
        )
        return _Phone(attached, driver, time.monotonic())

    def _states(self) -> dict[str, str]:
        """What adb lists; nothing where there is no server and none is to be started."""
        settings = self._settings
        if not shell.listens(_HERE, settings.adb_port) and not (
            settings.adb_start and start_server(settings.adb_port)
        ):
            return {}
        try:
            states = link.states(self._client)
            for address in settings.adb_addresses:
                fault = faults.classify_state(states.get(address))
                # Connecting anew takes away the question that its owner is about to answer.
                if fault not in (None, faults.UNAUTHORIZED):
                    self._connect(address)
            return link.states(self._client)
        except PhoneFault as error:
            self._say("adb server", str(error))
            return {}

    def _connect(self, address: str) -> None:
        try:
            link.reconnect(self._client, address, timeout_s=_LOOK_S)
        except (DeviceOffline, DeviceTimeout) as error:
            self._say(address, str(error))

    def _say(self, subject: str, trouble: str) -> None:
        """Log a change of trouble, not its every repetition."""
        if trouble != self._said.get(subject, ""):
            self._said[subject] = trouble
            if trouble:
                _log.warning("phone cannot be used", device=subject, reason=trouble)


def charge_history(settings: AgentSettings, serial: str) -> ChargeHistory:
    """Since when a phone's battery has been full, as this agent saw it."""
    return ChargeHistory(_kept(settings, serial, "charge"))


def _kept(settings: AgentSettings, serial: str, what: str) -> Path:
    """A file about one phone that outlives the agent."""
    name = re.sub(r"[^\w.-]", "_", serial)
    return settings.folder / "android" / f"{name}.{what}.json"


def start_server(port: int) -> bool:
    """Start an adb server as adb itself does; whether it runs now."""
    program = shutil.which("adb")
    if program is None:
        # A computer with phones has adb; the one inside adbutils is not started unasked.
        return False
    try:
        subprocess.run(
            [program, "-P", str(port), "start-server"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_START_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("no adb server", program=program, reason=str(error))
    return shell.listens(_HERE, port)
