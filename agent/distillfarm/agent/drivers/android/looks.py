"""Looks at how a phone fares: one at a time, shared by all who want to know, kept for series."""

import asyncio
import math
import time
from collections import deque

from distillfarm.agent.drivers.android import shell, state
from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.state import State

# Of a job with many long launches: at its gates, and every ten seconds beside them.
_KEPT = 4000
# Five times what a slow phone takes; a silent one is found out by this.
_TIMEOUT_S = 12.0


class Looks:
    """The looks at the phone at the end of ``line``."""

    def __init__(self, line: PhoneLine) -> None:
        self._line = line
        self._door = asyncio.Lock()
        self._began_s = -math.inf
        self._seen: deque[tuple[float, State]] = deque(maxlen=_KEPT)

    async def look(self, newer_than_s: float = 0.0) -> State:
        """The phone's state now, or one that was read within the last ``newer_than_s``.

        Who asks while another looks takes what that gives, if it began young enough.

        Raises:
            PhoneFault: the phone is lost, or has restarted since the line was settled.
            DeviceTimeout: see ``PhoneLine.ask``.
        """
        asked_s = time.monotonic()
        if newer_than_s and self._seen and self._seen[-1][0] >= asked_s - newer_than_s:
            return self._seen[-1][1]
        async with self._door:
            # One that was under way may tell of what was before the question.
            if self._began_s < asked_s - newer_than_s:
                await self._look()
            return self._seen[-1][1]

    def since(self, moment_s: float) -> tuple[tuple[float, State], ...]:
        """Every look since a moment of the agent's monotonic clock, with its own."""
        return tuple(each for each in self._seen if each[0] >= moment_s)

    async def _look(self) -> None:
        began_s = time.monotonic()
        told = await self._line.ask(shell.run, state.COMMAND, timeout_s=_TIMEOUT_S)
        found = state.parse(told.text)
        before = self._line.before
        if before is not None and found.boot_id not in (None, before.boot_id):
            await self._line.same_phone()
        self._began_s = began_s
        self._seen.append((time.monotonic(), found))
