"""A phone as a device to measure on: what it is, its files, its programs, its settings."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from distillfarm.agent.drivers.android import (
    commands,
    faults,
    jobs,
    starting,
    transfer,
)
from distillfarm.agent.drivers.android.apps import Apps
from distillfarm.agent.drivers.android.files import Cache
from distillfarm.agent.drivers.android.line import PhoneLine, uncancelled
from distillfarm.agent.drivers.android.looks import Looks
from distillfarm.agent.drivers.android.run import PhoneRun
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.android.starting import Beginning
from distillfarm.agent.drivers.android.state import State
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.agent.drivers.phone_driver import PhoneDriver, version
from distillfarm.agent.drivers.probe import probe_targets
from distillfarm.domain.errors import DeviceTimeout, InvalidRequest
from distillfarm.domain.hardware import DeviceInfo, Target

JOBS = "/data/local/tmp/distillfarm-jobs"
_RESTARTS = (faults.REBOOTED, faults.UPDATED)


class AndroidDriver(PhoneDriver):
    """A ``protocols.DeviceDriver`` for one phone.

    ``line`` reaches it, ``guard`` keeps its settings, ``cache`` its files; ``apps`` are what it
    can launch. ``targets`` are tried by ``probe``. What was found out is kept until the phone has
    another build or the agent other ``apps`` for it.
    """

    def __init__(
        self,
        line: PhoneLine,
        guard: SettingsGuard,
        apps: Apps,
        targets: Sequence[Target],
        cache: Cache | None = None,
    ) -> None:
        super().__init__()
        self._line = line
        self._guard = guard
        self._apps = apps
        self._targets = targets
        self._cache = cache or Cache()
        self._running: list[PhoneRun] = []
        self._looks = Looks(line)
        self._known: DeviceInfo | None = None
        self._flavour = ""
        self._clock_offset_s: float | None = None

    @property
    def serial(self) -> str:
        """The name under which adb lists the phone."""
        return self._line.serial

    @property
    def build(self) -> str:
        """The build that the phone had when it was last entered; empty before."""
        return self._line.before.fingerprint if self._line.before else ""

    async def _make_ready(self) -> None:
        """Wait for the phone, end what an agent before left, and set what a measurement needs."""
        await self._line.settle()
        self._same_build()
        # What ran when the phone was lost.
        self._running.clear()
        self._flavour = await self._line.ask(commands.arrive, JOBS)
        self._clock_offset_s = await self._line.ask(commands.clock_offset_s)
        await self._line.ask(self._guard.prepare)

    async def probe(self) -> DeviceInfo:
        """Read the facts and run a tiny model on every target that a phone may have."""
        info = await self._line.ask(commands.identify)
        if self._known is None or (self._known.os_build, self._known.firmware) != (
            info.os_build,
            info.firmware,
        ):
            runtimes = await probe_targets(self, self._targets)
            self._known = commands.with_runtimes(info, runtimes)
        return self._known

    def forget(self) -> None:
        """Have the next probe try every target anew, since there are other programs now."""
        self._known = None

    async def push(self, source: Path, name: str) -> str:
        """Send a file once; see ``files.Cache.push``."""
        return (await self._push_all([(source, name)]))[0]

    async def _push_all(self, files: Sequence[tuple[Path, str]]) -> list[str]:
        """Send what was not sent since the driver was entered; their paths."""
        self._inside()
        keys = [await asyncio.to_thread(version, *each) for each in files]
        new = {key: each for key, each in zip(keys, files, strict=True) if key not in self._sent}
        if new:
            paths = await self._line.ask(self._cache.push_all, tuple(new.values()))
            self._sent.update(zip(new, paths, strict=True))
        return [self._sent[key] for key in keys]

    async def pull(self, remote: str, destination: Path) -> None:
        """Fetch one of the files that were pushed.

        Raises:
            InvalidRequest: it is not one of the driver's files.
        """
        self._inside()
        if not remote.startswith(f"{self._cache.folder}/") or ".." in remote:
            raise InvalidRequest(f"{remote} is not a file of the farm's on {self.serial}")
        await self._line.ask(transfer.receive, remote, destination)

    async def launch(
        self,
        app: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> PhoneRun:
        """Push the program where it is missing and start it in a session of its own.

        Raises:
            InvalidRequest: no program has this name.
            MissingExtra: the agent has no files of it for this phone.
        """
        self._inside()
        program = await asyncio.to_thread(self._apps, app, arguments, self._flavour)
        paths = await self._push_all([(each, each.name) for each in program.files])
        command = starting.command(program, paths, arguments, environment)
        try:
            job = await self._line.ask(Beginning(JOBS, command, timeout_s))
        except asyncio.CancelledError:
            # It has begun all the same, maybe, and nobody else will know of it.
            await self._end_all()
            raise
        run = PhoneRun(self._line, job, self._clock_offset_s)
        self._running.append(run)
        return run

    async def look(self, newer_than_s: float = 0.0) -> State:
        """See ``looks.Looks.look``."""
        return await self._looks.look(newer_than_s)

    def looks(self, since_s: float) -> tuple[tuple[float, State], ...]:
        """Every look since a moment of the agent's monotonic clock, with its moment."""
        return self._looks.since(since_s)

    async def context(self) -> Mapping[str, str]:
        """Battery, temperatures, clocks, screen, radios, load, boot id."""
        return (await self.look()).context()

    async def reset(self) -> None:
        """End every launch, put back the settings; idempotent."""
        while self._running:
            await self._running[-1].kill()
            self._running.pop()
        if self._line.lost in _RESTARTS:
            # It is there again, and what was set on it outlived that.
            await self._line.settle()
        await self._line.ask(jobs.end_all, JOBS)
        await self._line.ask(self._guard.restore)

    async def _end_all(self) -> None:
        """End every job, cancelled or not; on a phone that is lost, the next entry does."""
        ending = asyncio.ensure_future(self._line.ask(jobs.end_all, JOBS))
        with contextlib.suppress(PhoneFault, DeviceTimeout):
            await uncancelled(ending)

    def _same_build(self) -> None:
        now = self._line.before
        if self._known is not None and now and now.fingerprint != self._known.os_build:
            known, self._known = self._known, None
            raise PhoneFault(
                self.serial, faults.UPDATED, f"{known.os_build} became {now.fingerprint}"
            )
