"""The phone that ``tests/hardware`` proves things on, as the environment names it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adbutils import AdbClient, AdbDevice

from distillfarm.agent.drivers.android import link, shell
from distillfarm.agent.drivers.android.apps import Apps
from distillfarm.agent.drivers.android.driver import AndroidDriver
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.android.source import AndroidSource, start_server
from distillfarm.agent.protocols import Attached
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.hardware import Target

SERIAL = "DISTILLFARM_HW_SERIAL"
ADB_PORT = "DISTILLFARM_HW_ADB_PORT"
ALLOW_REBOOT = "DISTILLFARM_HW_ALLOW_REBOOT"
Shown = Callable[[str], None]
"""Takes what a test has shown, for the table at the end."""

_FOUND_S = 60.0
# A phone takes a minute or two to start again.
_RESTART_S = 240.0


class NotThere(Exception):
    """Why the named phone cannot be used, with what to do."""


@dataclass(frozen=True)
class PhoneUnderTest:
    """A phone and the adb server that lists it; everything else is as an agent here has it."""

    serial: str
    adb_port: int
    allow_reboot: bool

    @property
    def by_cable(self) -> bool:
        """Whether it is reached without its radios."""
        return ":" not in self.serial

    @property
    def settings(self) -> AgentSettings:
        """An agent's settings in the usual folder, where what is found in a phone outlives us."""
        return AgentSettings(
            adb_port=self.adb_port,
            adb_start=True,
            adb_addresses=() if self.by_cable else (self.serial,),
            link_patience_s=_RESTART_S,
        )

    @property
    def client(self) -> AdbClient:
        """The production client of the server."""
        return shell.adb_client(port=self.adb_port)

    @property
    def device(self) -> AdbDevice:
        """The phone as production code has it."""
        return self.client.device(self.serial)

    def check(self) -> None:
        """See that it answers.

        Raises:
            NotThere: it does not.
        """
        if not start_server(self.adb_port):
            raise NotThere(f"no adb server on port {self.adb_port}, and no adb to start one by")
        fault = link.diagnose(self.client, self.serial)
        if fault is not None:
            raise NotThere(f"{self.serial}: {fault.name}; {fault.remedy}")

    def driver(self, apps: Apps, targets: Sequence[Target]) -> AndroidDriver:
        """A driver with other apps than an agent's."""
        address = "" if self.by_cable else self.serial
        kept = self.settings.folder / "android" / "hardware-tests.json"
        return AndroidDriver(
            PhoneLine(self.client, self.serial, address=address),
            SettingsGuard(kept, by_cable=self.by_cable),
            apps,
            targets,
        )

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[Attached]:
        """The phone as an agent finds it, which keeps looking after the adb server meanwhile.

        Raises:
            TimeoutError: the agent does not find it.
        """
        found: asyncio.Future[Attached] = asyncio.get_running_loop().create_future()

        async def watch() -> None:
            async for present in AndroidSource(self.settings).watch():
                for each in present:
                    if each.serial == self.serial and not found.done():
                        found.set_result(each)

        watching = asyncio.create_task(watch())
        try:
            async with asyncio.timeout(_FOUND_S):
                attached = await found
            yield attached
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


def named() -> PhoneUnderTest:
    """The phone that the environment names.

    Raises:
        NotThere: it names none.
    """
    serial = os.environ.get(SERIAL, "")
    if not serial:
        raise NotThere("no phone is named: make hw-android SERIAL=... (adb devices lists them)")
    port = os.environ.get(ADB_PORT) or os.environ.get("ANDROID_ADB_SERVER_PORT") or "5037"
    return PhoneUnderTest(serial, int(port), os.environ.get(ALLOW_REBOOT) == "1")
