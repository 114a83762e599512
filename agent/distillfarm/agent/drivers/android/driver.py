"""A phone as a device to measure on: what it is, its files, its programs, its settings."""

import asyncio
import secrets
import shlex
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from adbutils import AdbDevice

from distillfarm.agent.drivers.android import (
    commands,
    faults,
    jobs,
    shell,
    state,
    transfer,
)
from distillfarm.agent.drivers.android.apps import App, Apps
from distillfarm.agent.drivers.android.faults import PhoneFault
from distillfarm.agent.drivers.android.files import Cache
from distillfarm.agent.drivers.android.jobs import Job
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.run import OUTPUT_BYTES, PhoneRun
from distillfarm.agent.drivers.android.settings_guard import SettingsGuard
from distillfarm.agent.drivers.android.state import State
from distillfarm.agent.drivers.probe import probe_targets
from distillfarm.domain.errors import DeviceOffline, InvalidRequest
from distillfarm.domain.hardware import DeviceInfo, Target

JOBS = "/data/local/tmp/distillfarm-jobs"
_LOOKS = 1000


class AndroidDriver:
    """A ``protocols.DeviceDriver`` for one phone; one user at a time, others wait at the door.

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
        self._line = line
        self._guard = guard
        self._apps = apps
        self._targets = targets
        self._cache = cache or Cache()
        self._door = asyncio.Lock()
        self._entered = False
        self._running: list[PhoneRun] = []
        self._looks: deque[tuple[float, State]] = deque(maxlen=_LOOKS)
        self._known: DeviceInfo | None = None
        self._flavour = ""
        self._clock_offset_s: float | None = None
        self._sent: dict[tuple[Path, str, int, int], str] = {}

    @property
    def serial(self) -> str:
        """The name under which adb lists the phone."""
        return self._line.serial

    @property
    def busy(self) -> bool:
        """Whether somebody is inside."""
        return self._entered

    async def __aenter__(self) -> Self:
        """Wait for the phone, end what an agent before left, and set what a measurement needs.

        Raises:
            PhoneFault: the phone does not answer, or its system was updated since the last probe:
                then it has to be probed anew first.
        """
        await self._door.acquire()
        try:
            await self._line.settle()
            self._same_build()
            await self._line.ask(jobs.end_all, JOBS)
            self._flavour = await self._line.ask(commands.flavour)
            self._clock_offset_s = await self._line.ask(commands.clock_offset_s)
            await self._line.ask(self._guard.prepare)
            self._entered = True
        except BaseException:
            self._door.release()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what runs and put the settings back; on a phone that is lost, its next entry does."""
        try:
            await self.reset()
        except PhoneFault:
            if error is None:
                raise
        finally:
            self._entered = False
            self._sent.clear()
            self._door.release()

    async def probe(self) -> DeviceInfo:
        """Read the facts and run a tiny model on every target that a phone may have."""
        info = await self._line.ask(commands.identify)
        if self._known is None or self._known.os_build != info.os_build:
            runtimes = await probe_targets(self, self._targets)
            self._known = commands.with_runtimes(info, runtimes)
        return self._known

    def forget(self) -> None:
        """Have the next probe try every target anew, since there are other programs now."""
        self._known = None

    async def push(self, source: Path, name: str) -> str:
        """Send a file once; see ``files.Cache.push``."""
        self._inside()
        found = await asyncio.to_thread(source.stat)
        key = source, name, found.st_size, found.st_mtime_ns
        if key not in self._sent:
            self._sent[key] = await self._line.ask(self._cache.push, source, name)
        return self._sent[key]

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
        paths = {each: await self.push(each, each.name) for each in program.files}
        command = _command(program, paths, arguments, environment)
        job = await self._line.ask(_Beginning(command, timeout_s))
        run = PhoneRun(self._line, job, self._clock_offset_s)
        self._running.append(run)
        return run

    async def look(self, newer_than_s: float = 0.0) -> State:
        """The phone's state now, or one that was read within the last ``newer_than_s``."""
        now_s = time.monotonic()
        if newer_than_s and self._looks and self._looks[-1][0] >= now_s - newer_than_s:
            return self._looks[-1][1]
        told = await self._line.ask(shell.run, state.COMMAND, timeout_s=20.0)
        found = state.parse(told.text)
        before = self._line.before
        if before is not None and found.boot_id not in (None, before.boot_id):
            await self._line.same_phone()
        self._looks.append((time.monotonic(), found))
        return found

    def looks(self, since_s: float) -> tuple[tuple[float, State], ...]:
        """Every look since a moment of the agent's monotonic clock, with its moment."""
        return tuple(each for each in self._looks if each[0] >= since_s)

    async def context(self) -> Mapping[str, str]:
        """Battery, temperatures, clocks, screen, radios, load, boot id."""
        return (await self.look()).context()

    async def reset(self) -> None:
        """End every launch, put back the settings; idempotent."""
        while self._running:
            await self._running[-1].kill()
            self._running.pop()
        await self._line.ask(jobs.end_all, JOBS)
        await self._line.ask(self._guard.restore)

    def _inside(self) -> None:
        if not self._entered:
            raise DeviceOffline(f"{self.serial}: enter the driver first")

    def _same_build(self) -> None:
        now = self._line.before
        if self._known is not None and now and now.fingerprint != self._known.os_build:
            known, self._known = self._known, None
            raise PhoneFault(
                self.serial, faults.UPDATED, f"{known.os_build} became {now.fingerprint}"
            )


class _Beginning:
    """Starts a job in a folder of its own; what an attempt before may have started is ended."""

    def __init__(self, command: str, timeout_s: float) -> None:
        self._command, self._timeout_s = command, timeout_s
        self._tried = False

    def __call__(self, device: AdbDevice) -> Job:
        if self._tried:
            jobs.end_all(device, JOBS)
        self._tried = True
        folder = f"{JOBS}/{secrets.token_hex(6)}"
        return jobs.start(device, folder, self._command, self._timeout_s, OUTPUT_BYTES)


def _command(
    program: App,
    paths: Mapping[Path, str],
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> str:
    """The line of shell that runs a program in its job's folder.

    Its files are linked there, each from the folder of its digest: libraries look for others
    beside themselves.
    """
    links = " ".join(shlex.quote(path) for path in paths.values())
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    words = " ".join(map(shlex.quote, arguments))
    if program.library is not None:
        version = shlex.quote(f"version={program.version}")
        words += f' library="$PWD"/{shlex.quote(program.library.name)} {version}'
    # Assignments before exec are not exported by every shell.
    return (
        f'ln -s {links} . && exec env LD_LIBRARY_PATH="$PWD" {variables} '
        f'"$PWD"/{shlex.quote(program.program.name)} {words}{" 2>&1" if program.merged else ""}'
    )
