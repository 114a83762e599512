"""Launching apps and watching them: Instruments' services, through a tunnel since iOS 17."""

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pymobiledevice3.exceptions import ConnectionTerminatedError, UserspaceTunnelUnavailableError
from pymobiledevice3.lockdown_service_provider import LockdownServiceProvider
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider

from distillfarm.agent.drivers.ios import protocol as ask
from distillfarm.agent.drivers.ios.worker.lockdown import trusted
from distillfarm.agent.drivers.ios.worker.usage import UsageLog
from distillfarm.agent.drivers.ios.worker.watched import ProcessWatch, Watched

_TUNNEL_SINCE, _TUNNEL_WITHOUT_ROOT_SINCE = (17, 0), (17, 4)
# A phone that did not tell of an end is asked, and then given a moment for its last words.
_ASK_S, _LAST_WORDS_S = 10.0, 0.5
_GONE_S = 10.0


@dataclass(frozen=True)
class _Open:
    """What is open for launches."""

    processes: ProcessWatch
    info: DeviceInfo
    usage: UsageLog


class Instruments:
    """The instruments of one phone; opened by the first launch, and kept until ``close``."""

    def __init__(self, udid: str) -> None:
        self._udid = udid
        self._turn = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._provider: LockdownServiceProvider | None = None
        self._open: _Open | None = None

    async def close(self) -> None:
        """End the tunnel and what was opened through it; idempotent."""
        self._provider, self._open = None, None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def provider(self) -> LockdownServiceProvider:
        """The way to services: lockdownd before iOS 17, a tunnel since.

        Raises:
            UserspaceTunnelUnavailableError: only root can make a tunnel to this version.
        """
        async with self._turn:
            return await self._way()

    async def cores(self) -> int:
        """See ``protocol.Cores``."""
        told = await (await self._ready()).info.hardware_information()
        return int(told["numberOfPhysicalCpus"])

    async def begin(self, asked: ask.Begin) -> int:
        """See ``protocol.Begin``."""
        instruments = await self._ready()
        pid = await instruments.processes.launch(asked.bundle, asked.arguments, asked.environment)
        instruments.usage.watch(pid)
        return pid

    async def follow(self, asked: ask.Follow) -> ask.Progress:
        """See ``protocol.Follow``."""
        instruments = self._still_open()
        run = instruments.processes.run(asked.pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(asked.wait_s, _ASK_S)):
                await run.news(asked.line)
        if not run.ended and not run.said(asked.line):
            await self._ask_whether_it_runs(instruments, asked.pid, run)
        if run.lost:
            raise ConnectionTerminatedError("the phone's instruments hung up")
        lines, dropped = run.lines_from(asked.line)
        return ask.Progress(lines, run.ended, run.code, run.signal, dropped)

    async def end(self, asked: ask.End) -> None:
        """See ``protocol.End``."""
        instruments = await self._ready()
        if not await instruments.info.is_running_pid(asked.pid):
            return
        await instruments.processes.kill(asked.pid)
        async with asyncio.timeout(_GONE_S):
            while await instruments.info.is_running_pid(asked.pid):  # noqa: ASYNC110
                # The phone does not tell of every end.
                await asyncio.sleep(_LAST_WORDS_S / 5)

    async def usages(self, asked: ask.Usages) -> tuple[ask.Usage, ...]:
        """See ``protocol.Usages``."""
        return () if self._open is None else self._open.usage.since(asked.since_s)

    async def _ask_whether_it_runs(self, instruments: _Open, pid: int, run: Watched) -> None:
        if await instruments.info.is_running_pid(pid):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await run.end()
        run.finish()

    async def _ready(self) -> _Open:
        async with self._turn:
            if self._open is not None and self._open.processes.lost:
                await self.close()
            if self._open is None:
                try:
                    self._open = await self._start()
                except BaseException:
                    await self.close()
                    raise
            return self._open

    def _still_open(self) -> _Open:
        if self._open is None:
            raise ConnectionTerminatedError("the phone's instruments hung up")
        return self._open

    async def _start(self) -> _Open:
        dvt = await self._stack.enter_async_context(DvtProvider(await self._way()))
        info = await self._stack.enter_async_context(DeviceInfo(dvt))
        processes = await self._stack.enter_async_context(ProcessWatch(dvt))
        usage = await self._stack.enter_async_context(UsageLog(dvt))
        return _Open(processes, info, usage)

    async def _way(self) -> LockdownServiceProvider:
        if self._provider is None:
            async with trusted(self._udid) as client:
                major, minor = (*map(int, client.product_version.split(".")), 0)[:2]
            if (major, minor) < _TUNNEL_SINCE:
                self._provider = await self._stack.enter_async_context(trusted(self._udid))
            elif (major, minor) < _TUNNEL_WITHOUT_ROOT_SINCE:
                raise UserspaceTunnelUnavailableError(
                    f"iOS {major}.{minor} takes a tunnel from root alone"
                )
            else:
                tunnel = UserspaceRsdTunnel(
                    self._udid, autopair=False, remotepairing_fallback=False
                )
                self._provider = await self._stack.enter_async_context(tunnel)
        return self._provider
