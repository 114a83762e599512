"""Memory and processor of started apps, as Instruments' monitor tells them."""

import asyncio
import contextlib
import time
from collections import deque
from types import TracebackType
from typing import Self

from pymobiledevice3.exceptions import PyMobileDevice3Exception
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap

from distillfarm.agent.drivers.ios.protocol import Usage

# The monitor looks at every process of the phone: seldom enough not to be seen in what it watches.
_PERIOD_MS = 1000
_MOST = 20_000


class UsageLog:
    """Samples every second from entering to leaving; keeps those of the processes to be watched."""

    def __init__(self, dvt: DvtProvider) -> None:
        self._dvt = dvt
        self._pids: set[int] = set()
        self._seen: set[int] = set()
        self._log: deque[Usage] = deque(maxlen=_MOST)
        self._sampling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to sample."""
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        if self._sampling is not None:
            self._sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sampling

    def watch(self, pid: int) -> None:
        """Keep what this process uses from now on."""
        self._pids.add(pid)

    def since(self, at_s: float) -> tuple[Usage, ...]:
        """What was seen since a moment of the monotonic clock."""
        return tuple(each for each in self._log if each.at_s >= at_s)

    async def _sample(self) -> None:
        # A monitor that fails leaves a shorter series; the launches tell of a lost phone.
        with contextlib.suppress(PyMobileDevice3Exception, OSError, EOFError):
            async with await Sysmontap.create(self._dvt, interval=_PERIOD_MS) as tap:
                async for processes in tap.iter_processes():
                    for each in processes:
                        self._note(each)

    def _note(self, told: dict[str, object]) -> None:
        pid = told.get("pid")
        if not isinstance(pid, int) or pid not in self._pids:
            return
        if pid not in self._seen:
            # The first has no share of the processor yet: that is a difference.
            self._seen.add(pid)
            return
        footprint, share = told.get("physFootprint"), told.get("cpuUsage")
        if isinstance(footprint, int) and isinstance(share, int | float):
            self._log.append(Usage(time.monotonic(), footprint, float(share)))
