"""Walks from "nothing is listed" to an iPhone that can measure: what is wrong, and what to do."""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator, Iterator

from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.finding import Finding, Grade
from distillfarm.agent.drivers.ios import care, faults, usbmux
from distillfarm.agent.drivers.ios.apps import Package, PhoneApp, farm_app
from distillfarm.agent.drivers.ios.gates import LEAST_PERCENT, WARMEST_C
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.preflight import obstacle
from distillfarm.agent.drivers.ios.protocol import (
    DescribeSupervisor,
    FindApp,
    Identify,
    Identity,
    ImageMounted,
    Look,
    Profiles,
    Supervision,
    Supervisor,
    SupervisorTold,
)
from distillfarm.agent.drivers.ios.source import LIBRARY, supervisor
from distillfarm.agent.drivers.ios.state import State
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.errors import InvalidRequest

_DAY_S = 86400.0
# A free account's profiles last a week: https://developer.apple.com/support/compare-memberships
_SOON_S = 3 * _DAY_S
_PATIENCE_S = 0.0


def checkup(settings: AgentSettings) -> Iterator[Finding]:
    """Look at usbmuxd, the app's package and each iPhone; blocks, a few seconds a phone.

    Changes nothing on a phone and starts nothing here that stays.
    """
    return iter(asyncio.run(_all(settings)))


async def _all(settings: AgentSettings) -> list[Finding]:
    return [each async for each in _walk(settings)]


async def _walk(settings: AgentSettings) -> AsyncIterator[Finding]:
    where = usbmux.address()
    if not usbmux.present(where):
        yield Finding(
            "usbmuxd",
            Grade.GOOD,
            f"no socket at {where}; only needed for iPhones",
            "on Debian: apt install usbmuxd",
        )
        return
    try:
        listed = await usbmux.listed(where)
    except usbmux.NoUsbmuxd as error:
        yield Finding("usbmuxd", Grade.BAD, str(error), faults.NO_USBMUXD.remedy)
        return
    yield Finding("usbmuxd", Grade.GOOD, f"{where}, {len(listed)} iPhones listed")
    if not listed:
        return
    if importlib.util.find_spec(LIBRARY) is None:
        yield Finding("iPhones", Grade.BAD, f"{LIBRARY} is missing", faults.NO_EXTRA.remedy)
        return
    try:
        app = await asyncio.to_thread(farm_app, settings.iphone_app)
    except InvalidRequest as error:
        yield Finding("iPhone app", Grade.BAD, str(error), faults.NO_APP.remedy)
        return
    if app.package is not None:
        yield signing(app.package, time.time())
    named = supervisor(settings)
    if named is not None:
        yield await _identity(named, listed[0].udid, where)
    for each in listed:
        async for finding in _phone(each, where, app, named):
            yield finding


async def _identity(named: Supervisor, udid: str, where: str) -> Finding:
    """What the identity is worth by which phones are to trust this computer; no phone is asked."""
    subject, line = "iPhone supervision", PhoneLine(udid, where, patience_s=_PATIENCE_S)
    try:
        told = await line.ask_once(DescribeSupervisor(named))
    except PhoneFault as error:
        return Finding(subject, Grade.BAD, str(error), error.fault.remedy)
    finally:
        await line.close()
    return identity_expiry(told, time.time())


def identity_expiry(told: SupervisorTold, now_s: float) -> Finding:
    """How long an identity's certificate lasts; ``now_s`` is Unix time."""
    subject, days = "iPhone supervision", (told.expires_at_s - now_s) / _DAY_S
    if days <= 0:
        text = f"the certificate of {told.subject} expired"
        return Finding(subject, Grade.BAD, text, "supervise the phones by another identity")
    return Finding(subject, Grade.GOOD, f"{told.subject}, for {days:.0f} days more")


def signing(package: Package, now_s: float) -> Finding:
    """How long the package's signature lasts; ``now_s`` is Unix time."""
    return expiry("iPhone app", f"{package.path.name} {package.build}", package.expires_at_s, now_s)


def expiry(subject: str, what: str, ends_s: float | None, now_s: float) -> Finding:
    """How long a signature lasts; both times are Unix time, ``ends_s`` None for one without end."""
    remedy = faults.APP_REFUSED.remedy
    if ends_s is None:
        return Finding(subject, Grade.POOR, f"{what} holds no profile that says until when", remedy)
    days = (ends_s - now_s) / _DAY_S
    if days <= 0:
        return Finding(subject, Grade.BAD, f"the signature of {what} expired", remedy)
    grade = Grade.POOR if ends_s - now_s < _SOON_S else Grade.GOOD
    text = f"{what} is signed for {days:.0f} days more"
    return Finding(subject, grade, text, "" if grade is Grade.GOOD else remedy)


async def _phone(
    each: usbmux.Listed, where: str, app: PhoneApp, named: Supervisor | None
) -> AsyncIterator[Finding]:
    subject = f"iPhone {each.udid}"
    if not each.by_cable:
        text = "on Wi-Fi only; phones are measured by cable"
        yield Finding(subject, Grade.POOR, text, "plug it in")
        return
    line = PhoneLine(each.udid, where, patience_s=_PATIENCE_S)
    try:
        identity = await line.ask_once(Identify())
        yield Finding(
            subject, Grade.GOOD, f"{identity.product}, iOS {identity.version}, {identity.build}"
        )
        async for finding in _ready(line, subject, identity, app, named):
            yield finding
    except PhoneFault as error:
        yield Finding(subject, Grade.BAD, error.fault.name, error.fault.remedy)
    finally:
        await line.close()


async def _ready(
    line: PhoneLine, subject: str, identity: Identity, app: PhoneApp, named: Supervisor | None
) -> AsyncIterator[Finding]:
    fault = obstacle(identity)
    if fault is not None:
        yield Finding(subject, Grade.BAD, fault.name, fault.remedy)
        return
    supervised = await line.ask_once(Supervision())
    if supervised and named is None:
        yield Finding(
            subject,
            Grade.POOR,
            "supervised, but by no identity that is named: after a reset somebody has to tap Trust",
            faults.NO_IDENTITY.remedy,
        )
    if not supervised:
        yield Finding(
            subject,
            Grade.POOR,
            "not supervised: after an update or a reset somebody has to tap on it",
            "supervise it once with Apple Configurator, see docs/iphone.md",
        )
    if not await line.ask_once(ImageMounted()):
        text = "no developer image is mounted; the agent mounts it before the next job"
        yield Finding(subject, Grade.POOR, text, faults.NO_IMAGE.remedy)
    async for finding in _app(line, subject, app):
        yield finding
    for finding in fitness(subject, State(await line.ask_once(Look()))):
        yield finding


async def _app(line: PhoneLine, subject: str, app: PhoneApp) -> AsyncIterator[Finding]:
    found = await line.ask_once(FindApp(app.bundle))
    if found is None:
        text = f"{app.bundle} is not installed"
        if app.package is None:
            yield Finding(subject, Grade.BAD, text, faults.NO_APP.remedy)
        else:
            yield Finding(subject, Grade.GOOD, f"{text} yet; the agent does it before its next job")
        return
    for each in await line.ask_once(Profiles()):
        if each.app.endswith(f".{app.bundle}"):
            yield expiry(subject, each.name, each.expires_at_s, time.time())


def fitness(subject: str, now: State) -> Iterator[Finding]:
    """What a look at a phone says of its battery and temperature."""
    if ill := care.trouble(now):
        yield Finding(subject, Grade.BAD, ill)
        return
    percent, warm_c = now.phone.battery_percent, now.phone.battery_c
    if percent is not None and percent < LEAST_PERCENT:
        text = f"battery at {percent:.0f} %: below {LEAST_PERCENT:g} it gets no work"
        yield Finding(subject, Grade.POOR, text)
    if warm_c is not None and warm_c > WARMEST_C:
        text = f"battery at {warm_c:.1f} °C: above {WARMEST_C:g} it gets no work"
        yield Finding(subject, Grade.POOR, text)
