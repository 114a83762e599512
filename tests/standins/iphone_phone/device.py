"""A phone in its process: what it is, what is on it, what runs, and what may be done to it."""

import asyncio
import json
import signal
import time
from pathlib import Path

from iphone_phone import crashes, processes
from iphone_phone.apps import Apps, Installed, expired, read_profile
from iphone_phone.condition import Condition, Trust
from iphone_phone.crashes import Crashes
from iphone_phone.facts import Facts
from iphone_phone.hosts import Hosts
from iphone_phone.identities import Identity, System
from iphone_phone.log import Log
from iphone_phone.processes import Launch, Running, Watcher

_FIRST_PID = 400


class LaunchRefused(Exception):
    """Why an app is not launched, in SpringBoard's words."""


class Device:
    """The ``number``-th phone of its model; what is on it lies in ``folder``."""

    def __init__(self, identity: Identity, number: int, folder: Path) -> None:
        self.identity, self.folder = identity, folder
        self.condition = Condition()
        self.hosts = Hosts()
        self.facts = Facts(identity, number, identity.system, self.hosts.public_key)
        self.apps = Apps(folder / "apps", self.facts.udid)
        self.crashes = Crashes(folder / "crashes")
        self.log = Log()
        self.media = folder / "media"
        self._create_media()
        self.outer_ports, self.inner_ports = folder / "ports", folder / "inner"
        self.running: dict[int, Running] = {}
        self._next_pid = _FIRST_PID
        self._watching: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._conditions = folder / "conditions.json"
        self.change(self.condition)

    @property
    def image_type(self) -> str:
        """Which developer image this system takes."""
        return "Personalized" if self.facts.system.personalizes else "Developer"

    def change(self, condition: Condition) -> None:
        """Be like this from now on; a phone that trusts nobody forgets whom it trusted."""
        if condition.trust is not Trust.GRANTED and self.condition.trust is Trust.GRANTED:
            self.hosts.forget_all()
        self.condition = condition
        partial = self._conditions.with_suffix(".part")
        partial.write_text(
            json.dumps({"thermal": condition.thermal, "low_power_mode": condition.low_power_mode})
        )
        partial.replace(self._conditions)
        self._changed.set()
        self._changed = asyncio.Event()

    async def heard(self, service: str) -> None:
        """Wait until this service answers; at once where it is not silent."""
        while service in self.condition.silent:
            await self._changed.wait()

    def install(self, package: Path) -> Installed:
        """Install an app.

        Raises:
            Refused: see ``Apps.install``.
        """
        return self.apps.install(package, self.facts.system)

    async def uninstall(self, bundle: str) -> None:
        """Remove an app, ending it before."""
        await self._end(bundle)
        self.apps.uninstall(bundle)

    async def launch(self, asked: Launch, watcher: Watcher | None = None) -> int:
        """Launch an app; its number as a process, the old one's where that may stay.

        Raises:
            LaunchRefused: it may not run, or does not.
        """
        bundle = asked.bundle
        app = self.apps.find(bundle)
        if app is None:
            raise LaunchRefused(
                f"Request to launch {bundle} failed. : The application identified by"
                f" “{bundle}” is not installed"
            )
        if (reason := self._refusal(app)) is not None:
            raise LaunchRefused(f"Unable to launch {bundle} because {reason}")
        if asked.kill_existing:
            await self._end(bundle)
        elif (already := self.pid(bundle)) is not None:
            return already
        try:
            process = await processes.start(app, asked, self._conditions)
        except OSError as error:
            raise LaunchRefused(f"Unable to launch {bundle}: {error}") from error
        self._next_pid += 1
        running = Running(self._next_pid, app, time.time(), process)
        self.running[running.pid] = running
        self._own(asyncio.create_task(self._watch(running, watcher)))
        return running.pid

    def pid(self, bundle: str) -> int | None:
        """The app's process, if it runs."""
        return next((pid for pid, each in self.running.items() if each.app.bundle == bundle), None)

    async def send_signal(self, pid: int, number: int) -> None:
        """Signal an app's process, if it runs."""
        if (running := self.running.get(pid)) is not None:
            if number == signal.SIGKILL:
                await running.kill()
            else:
                running.signal(number)

    async def jetsam(self, bundle: str) -> bool:
        """Kill the app for its memory, and report it; False where it does not run."""
        pid = self.pid(bundle)
        if pid is None:
            return False
        running = self.running[pid]
        used = running.sample()
        await running.kill()
        path = self.crashes.jetsam(
            self.facts, running.app.name, pid, used.resident_bytes if used else 0
        )
        self.log.saved_report(path.name, "298")
        return True

    async def end_apps(self) -> None:
        """End everything that runs."""
        for running in tuple(self.running.values()):
            await running.kill()

    async def erase(self) -> None:
        """Be as on the first day, but for the computers that are trusted."""
        await self.restart(self.identity.system)
        self.apps.erase()
        self.crashes.erase()
        for left in self.media.rglob("*"):
            if left.is_file() or left.is_symlink():
                left.unlink()

    async def restart(self, system: System) -> None:
        """End everything; come up with this system and no developer image."""
        await self.end_apps()
        self.facts = Facts(self.identity, self.facts.number, system, self.hosts.public_key)

    def _create_media(self) -> None:
        for name in ("DCIM", "Downloads", "PublicStaging"):
            (self.media / name).mkdir(parents=True, exist_ok=True)

    def _refusal(self, app: Installed) -> str | None:
        if self.condition.locked:
            return "the device was not, or could not be, unlocked."
        contents = read_profile(app.profile)
        if not self.condition.user_trusts_developer or expired(contents):
            return (
                "it has an invalid code signature, inadequate entitlements or its profile has not"
                " been explicitly trusted by the user."
            )
        if not self.condition.developer_mode:
            return "Developer Mode is disabled on this device."
        return None

    async def _end(self, bundle: str) -> None:
        if (pid := self.pid(bundle)) is not None:
            await self.running[pid].kill()

    async def _watch(self, running: Running, watcher: Watcher | None) -> None:
        output = running.process.stdout
        assert output is not None
        name = running.app.name
        while line := await _line(output):
            text = line.decode(errors="replace")
            self.log.write(running.pid, running.app.path, name, text.rstrip("\n"))
            if watcher is not None:
                await watcher.said(running.pid, text)
        code = await running.process.wait()
        if code < 0 and crashes.is_crash(-code):
            path = self.crashes.crashed(self.facts, name, running.app.bundle, running.pid, -code)
            self.log.saved_report(path.name, "309")
        del self.running[running.pid]
        running.gone.set()
        if watcher is not None:
            await watcher.ended(running.pid, code)

    def _own(self, task: asyncio.Task[None]) -> None:
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)


async def _line(output: asyncio.StreamReader) -> bytes:
    try:
        return await output.readuntil(b"\n")
    except asyncio.IncompleteReadError as rest:
        return rest.partial
    except asyncio.LimitOverrunError as longer:
        return await output.readexactly(longer.consumed)
