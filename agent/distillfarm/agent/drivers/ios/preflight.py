"""Makes an iPhone ready for launches, or says what keeps it from that."""

import structlog

from distillfarm.agent.drivers.fault import Fault, PhoneFault
from distillfarm.agent.drivers.ios import faults
from distillfarm.agent.drivers.ios.apps import Apps, PhoneApp
from distillfarm.agent.drivers.ios.line import PhoneLine
from distillfarm.agent.drivers.ios.protocol import FindApp, Identity, InstallApp, MountImage

# An image has tens of megabytes, may have to be fetched, and Apple's signature with it.
_MOUNT_S, _INSTALL_S = 180.0, 180.0
_DEVELOPER_MODE_SINCE = 16

_log = structlog.get_logger(__name__)


def obstacle(identity: Identity) -> Fault | None:
    """What a person has to change first, or None."""
    if not identity.paired:
        return faults.UNTRUSTED
    if identity.locked:
        return faults.LOCKED
    if identity.developer_mode is False and major(identity.version) >= _DEVELOPER_MODE_SINCE:
        return faults.NO_DEVELOPER_MODE
    return None


def major(version: str) -> int:
    """The first number of a version of iOS."""
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


async def make_ready(line: PhoneLine, identity: Identity, apps: Apps) -> None:
    """Mount the developer image and install the apps where they are missing.

    Raises:
        PhoneFault: an obstacle, or what came of mounting and installing.
    """
    fault = obstacle(identity)
    if fault is not None:
        raise PhoneFault(line.udid, fault, f"iOS {identity.version}")
    if await line.ask(MountImage(), _MOUNT_S):
        _log.info("mounted the developer image", device=line.udid)
    for app in apps.values():
        await _install(line, app)


async def _install(line: PhoneLine, app: PhoneApp) -> None:
    found = await line.ask(FindApp(app.bundle))
    package = app.package
    if package is None:
        if found is None:
            raise PhoneFault(line.udid, faults.NO_APP, f"{app.bundle} is not installed")
        return
    if found is None or found.version != package.build:
        await line.ask(InstallApp(str(package.path)), _INSTALL_S)
        _log.info("installed the app", device=line.udid, app=app.bundle, build=package.build)
