"""Runs programs on this computer in fresh, sandboxed processes."""

import asyncio
import hashlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from distillfarm.agent.drivers.host import facts
from distillfarm.agent.drivers.probe import probe_targets
from distillfarm.agent.protocols import Exit
from distillfarm.agent.runners.program import APP
from distillfarm.domain.errors import DeviceOffline, InvalidRequest
from distillfarm.domain.hardware import DeviceInfo, Platform, Target, parse_target
from distillfarm.sandbox import process
from distillfarm.sandbox.limits import Limits

# Isolated, so that nothing in the environment or the folder changes what is imported.
PROGRAMS: Mapping[str, Sequence[str]] = {
    APP: (sys.executable, "-I", "-m", "distillfarm.agent.program")
}
TARGETS = tuple(
    map(parse_target, ("onnxruntime/cpu", "onnxruntime/xnnpack", "litert/xnnpack", "litert/none"))
)
_SCRATCH_BYTES = 256 * 2**20
_READ_ONLY = 0o444


class HostRun:
    """A running program; see ``protocols.AppRun``. Its clock is the agent's."""

    clock_offset_s = 0.0

    def __init__(self, running: process.Process, folder: Path) -> None:
        self._process = running
        self._folder = folder

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def lines(self) -> AsyncIterator[str]:
        """See ``protocols.AppRun``."""
        return self._process.lines()

    async def wait(self) -> Exit:
        """See ``protocols.AppRun``."""
        ended = await self._process.wait()
        return Exit(
            ended.code, ended.out_of_memory, ended.timed_out, ended.stderr_tail, ended.reason
        )

    async def kill(self) -> None:
        """See ``protocols.AppRun``; its scratch folder goes with it."""
        try:
            await self._process.kill()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


class HostDriver:
    """A ``protocols.DeviceDriver`` for the computer that the agent runs on.

    ``folder`` is the driver's own. ``memory_bytes`` bounds one launch, by default half of the
    computer's memory. ``programs`` are what ``launch`` can start, by name. ``targets`` are tried by
    ``probe``; nothing else is offered.
    """

    def __init__(
        self,
        folder: Path,
        memory_bytes: int | None = None,
        programs: Mapping[str, Sequence[str]] = PROGRAMS,
        targets: Sequence[Target] = TARGETS,
    ) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes or psutil.virtual_memory().total // 2
        self._programs = programs
        self._targets = targets
        self._running: list[HostRun] = []

    async def __aenter__(self) -> Self:
        """Empty the folder: an agent that was killed may have left something there."""
        await self.reset()
        await asyncio.to_thread(self._files.mkdir, parents=True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what runs and empty the folder."""
        await self.reset()

    async def probe(self) -> DeviceInfo:
        """Read the facts and run a tiny model on every target that this computer may have."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return DeviceInfo(
            serial=facts.serial(self._folder.parent),
            platform=Platform.HOST,
            model=facts.model(),
            chipset=facts.chipset(),
            os_name=facts.os_name(),
            os_build=facts.os_build(),
            cores=psutil.cpu_count() or 1,
            memory_bytes=psutil.virtual_memory().total,
            firmware=facts.firmware(),
            runtimes=await probe_targets(self, self._targets),
        )

    async def push(self, source: Path, name: str) -> str:
        """Copy a file under the digest of its content, read-only.

        A copy, since a link would let the program that is measured spoil the original.

        Raises:
            InvalidRequest: ``name`` is no plain file name.
            DeviceOffline: the driver was not entered.
        """
        if Path(name).name != name:
            raise InvalidRequest(f"{name!r} is no plain file name")
        return str(await asyncio.to_thread(self._copy, source, name))

    async def pull(self, remote: str, destination: Path) -> None:
        """Copy a pushed file back.

        Raises:
            InvalidRequest: it is not one of the driver's files.
        """
        await asyncio.to_thread(self._copy_back, Path(remote), destination)

    async def launch(
        self,
        app: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> HostRun:
        """Start a program in a scratch folder of its own, the only place where it may write.

        Raises:
            InvalidRequest: no program has this name.
            DeviceOffline: the driver was not entered.
        """
        if app not in self._programs:
            raise InvalidRequest(f"no program {app!r} here; there are {', '.join(self._programs)}")
        self._entered()
        scratch = Path(tempfile.mkdtemp(prefix="launch-", dir=self._folder))
        limits = Limits(self._memory_bytes, timeout_s, _SCRATCH_BYTES)
        try:
            running = await process.spawn(
                [*self._programs[app], *arguments],
                limits=limits,
                folder=scratch,
                environment=environment,
            )
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        run = HostRun(running, scratch)
        self._running.append(run)
        return run

    async def context(self) -> Mapping[str, str]:
        """Load, clocks, temperature and memory now."""
        return await asyncio.to_thread(facts.context)

    async def reset(self) -> None:
        """End every launch that still runs and remove all files; idempotent."""
        while self._running:
            await self._running[-1].kill()
            self._running.pop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def _files(self) -> Path:
        return self._folder / "files"

    def _entered(self) -> None:
        if not self._files.is_dir():
            raise DeviceOffline(f"{self._folder} is not there; enter the driver first")

    def _copy_back(self, remote: Path, destination: Path) -> None:
        path = remote.resolve()
        if not path.is_relative_to(self._files.resolve()) or not path.is_file():
            raise InvalidRequest(f"{remote} is not a file on this device")
        shutil.copyfile(path, destination)

    def _copy(self, source: Path, name: str) -> Path:
        self._entered()
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target = self._files / digest / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            partial = target.with_name(f".{name}")
            shutil.copyfile(source, partial)
            partial.chmod(_READ_ONLY)
            partial.replace(target)
        return target
