"""Child processes that are started again when they end by themselves."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from distillfarm.cli import lifeline
from distillfarm.cli.console import say
from distillfarm.domain.errors import Unavailable

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_GOOD_RUN_S = 30.0
"""Who ran that long was not failing at its start, so the next pause is the first again."""
_STOP_WITHIN_S = 20.0
_LOG_LIMIT_BYTES = 10_000_000
_TAIL_BYTES = 4096


class Child:
    """One process of the farm with its log file.

    ``command`` is asked before every start. ``inherited`` are file descriptors that live as
    long as the child: the read end of the lifeline first.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        folder: Path,
        inherited: tuple[int, ...],
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.settled = False
        """Set by the owner once the farm is healthy; before that an end is an error."""
        self._command = command
        self._inherited = inherited

    async def keep(self) -> None:
        """Run the child for ever; cancel to stop it.

        Raises:
            Unavailable: it ended before it was settled; the text is its last line.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            began_s = time.monotonic()
            code = await self._run_once()
            if not self.settled:
                raise Unavailable(
                    f"the farm's {self.name} ended at its start with code {code}: "
                    f"{self._last_line()} (log: {self.log})"
                )
            if time.monotonic() - began_s > _GOOD_RUN_S:
                pause_s = _FIRST_PAUSE_S
            say(f"{self.name} ended with code {code}; starting it again (log: {self.log})")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _run_once(self) -> int:
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self._inherited,
                # Ctrl-C on the terminal goes to the farm's owner alone, who ends it in order.
                start_new_session=True,
                env=os.environ | {lifeline.VARIABLE: str(self._inherited[0])},
            )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise

    def _last_line(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_WITHIN_S)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
