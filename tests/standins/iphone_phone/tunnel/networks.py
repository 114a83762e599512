"""Processes that are a phone's end of a tunnel's network: the next one is ready beforehand.

Their libraries take a second to load, which a client of a tunnel does not wait for after the first.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

_SOURCES = Path(__file__).parents[2]
_PROCESS = "iphone_phone.tunnel.network"


class Network:
    """A process: packets at its two ends."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self.packets_in, self.packets_out = process.stdin, process.stdout

    async def end(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Networks:
    """Starts them; nothing is started before the first is needed."""

    def __init__(self) -> None:
        self._next: asyncio.Task[Network] | None = None

    async def take(self, plan: bytes) -> Network:
        """One with its ports open, made by this line of JSON."""
        network = await (self._next or _start())
        self._next = asyncio.create_task(_start())
        network.packets_in.write(plan + b"\n")
        await network.packets_out.readline()
        return network


async def _start() -> Network:
    # It hangs on a pipe of this process, and ends with it.
    return Network(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _PROCESS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_SOURCES,
        )
    )
