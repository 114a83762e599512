"""Finds the iPhones that hang on this computer by a cable."""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from distillfarm.agent.drivers.ios import faults, gates, usbmux
from distillfarm.agent.drivers.ios.apps import Apps, farm_apps
from distillfarm.agent.drivers.ios.care import health
from distillfarm.agent.drivers.ios.driver import IosDriver
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.meters import UnmeasuredEnergy, meters
from distillfarm.agent.drivers.ios.protocol import Supervisor
from distillfarm.agent.drivers.ios.usbmux import Listed, NoUsbmuxd
from distillfarm.agent.protocols import Attached
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import DeviceHealth, parse_target

TARGETS = tuple(
    map(
        parse_target,
        (
            "onnxruntime/cpu",
            "onnxruntime/coreml/npu",
            "litert/xnnpack",
            "litert/coreml/npu",
            "coreml/cpu_only",
            "coreml/cpu_and_gpu/gpu",
            "coreml/cpu_and_neural_engine/npu",
            "coreml/all/npu",
            "coreai/cpu_only",
            "coreai/prefer_gpu/gpu",
            "coreai/prefer_neural_engine/npu",
            "coreai/default/npu",
        ),
    )
)
LIBRARY = "pymobiledevice3"
_LOOK_S = 1.0
# A job's own looks are young enough: it is not disturbed for this.
_HEALTH_AGE_S = 25.0
# A phone that is away for less than this was never gone: cables wiggle, and usbmuxd restarts.
GRACE_S = 15.0

_log = structlog.get_logger(__name__)


@dataclass
class _Phone:
    """An iPhone that was seen; ``present`` is whether it counts as attached."""

    attached: Attached
    driver: IosDriver
    seen_s: float
    present: bool = True


def supervisor(settings: AgentSettings) -> Supervisor | None:
    """Who supervises this lab's phones; None where nobody was named."""
    if settings.iphone_supervisor is None:
        return None
    password_file = settings.iphone_supervisor_password_file
    return Supervisor(
        str(settings.iphone_supervisor.resolve()),
        "" if password_file is None else str(password_file.resolve()),
    )


class IosSource:
    """A ``protocols.DeviceSource`` of all iPhones of this computer's usbmuxd.

    Looking costs nothing where there is no usbmuxd, and loads no library for iPhones here.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._where = usbmux.address()
        self._phones: dict[str, _Phone] = {}
        self._said: dict[str, str] = {}
        self._apps: Apps | None = None

    async def watch(self) -> AsyncIterator[tuple[Attached, ...]]:
        """The phones that can be used; what keeps another from it stands in the log."""
        before: tuple[str, ...] | None = None
        while True:
            await self._mark(await self._listed())
            present = tuple(sorted(udid for udid, each in self._phones.items() if each.present))
            if present != before:
                before = present
                yield tuple(self._phones[udid].attached for udid in present)
            await asyncio.sleep(_LOOK_S)

    async def _listed(self) -> tuple[Listed, ...]:
        """What is plugged in and can be spoken to; nothing where there is no usbmuxd."""
        if not usbmux.present(self._where):
            return ()
        try:
            listed = await usbmux.listed(self._where)
        except NoUsbmuxd as error:
            # A socket without a server is what a stopped usbmuxd leaves: only phones make it news.
            self._say("usbmuxd", str(error) if self._phones else "")
            return ()
        self._say("usbmuxd", "")
        phones = tuple(each for each in listed if each.by_cable)
        missing = bool(phones) and importlib.util.find_spec(LIBRARY) is None
        self._say("iPhones", f"plugged in, but {faults.NO_EXTRA.remedy} first" if missing else "")
        return () if missing else phones

    async def _mark(self, listed: tuple[Listed, ...]) -> None:
        now_s = time.monotonic()
        apps = self._farm_apps() if listed else None
        for each in listed:
            phone = self._phones.get(each.udid)
            if phone is None and apps is not None:
                phone = self._phones[each.udid] = self._new(each.udid, apps)
            if phone is not None:
                phone.seen_s, phone.present = now_s, True
        for phone in self._phones.values():
            if phone.present and phone.seen_s < now_s - GRACE_S:
                phone.present = False
                await phone.driver.close()

    def _farm_apps(self) -> Apps | None:
        if self._apps is None:
            try:
                self._apps = farm_apps(self._settings.iphone_app)
            except InvalidRequest as error:
                self._say("iPhone app", str(error))
        return self._apps

    def _new(self, udid: str, apps: Apps) -> _Phone:
        line = PhoneLine(
            udid,
            self._where,
            patience_s=self._settings.link_patience_s,
            supervisor=supervisor(self._settings),
        )
        driver = IosDriver(line, apps, TARGETS)

        async def fares() -> DeviceHealth:
            return health(udid, await driver.look(newer_than_s=_HEALTH_AGE_S), time.time())

        attached = Attached(
            serial=udid,
            driver=driver,
            gates=gates.gates(driver.weather),
            meters=meters(driver),
            energy=UnmeasuredEnergy(),
            patience_s=self._settings.gate_patience_s,
            required_patience_s=self._settings.phone_patience_s,
            health=fares,
        )
        return _Phone(attached, driver, time.monotonic())

    def _say(self, subject: str, trouble: str) -> None:
        """Log a change of trouble, not its every repetition."""
        if trouble != self._said.get(subject, ""):
            self._said[subject] = trouble
            if trouble:
                _log.warning("iPhones cannot be used", subject=subject, reason=trouble)
