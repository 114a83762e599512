"""What started apps say and how they end, which the library itself only logs."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pymobiledevice3.dtx import DTXContext, dtx_on_invoke
from pymobiledevice3.dtx_service import DtxService
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControlService

_SIGKILL = 9
_START = (
    "launch_suspended_process_with_device_path_bundle_identifier_environment_arguments_options_"
)
_MOST_LINES, _LONGEST_LINE = 20_000, 1_000_000


class Watched:
    """One started app; ``lost`` is whether nothing more can be heard of it."""

    def __init__(self) -> None:
        self.ended, self.lost = False, False
        self.code: int | None = None
        self.signal: int | None = None
        self._lines: list[str] = []
        self._rest = ""
        self._dropped = 0
        self._news = asyncio.Event()

    def said(self, line: int) -> bool:
        """Whether there are lines from this number on."""
        return len(self._lines) > line

    def lines_from(self, line: int) -> tuple[tuple[str, ...], int]:
        """The lines from this number on, and how many were not kept."""
        return tuple(self._lines[line:]), self._dropped

    async def news(self, line: int) -> None:
        """Wait until it says more than ``line`` lines, ends or is lost."""
        while not (self.said(line) or self.ended or self.lost):
            self._news.clear()
            await self._news.wait()

    async def end(self) -> None:
        """Wait until it ends or is lost."""
        while not (self.ended or self.lost):
            self._news.clear()
            await self._news.wait()

    def hear(self, text: str) -> None:
        """Take a piece of its output."""
        *whole, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > _LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], ""
        room = max(0, _MOST_LINES - len(self._lines))
        self._lines += whole[:room]
        self._dropped += len(whole[room:])
        self._news.set()

    def finish(self, code: int | None = None, signal: int | None = None) -> None:
        """It ended; the first word on how counts."""
        if not self.ended:
            if self._rest:
                self._lines.append(self._rest)
                self._rest = ""
            self.ended, self.code, self.signal = True, code, signal
        self._news.set()

    def lose(self) -> None:
        """Nothing more can be heard of it."""
        self.lost = not self.ended
        self._news.set()


class WatchService(ProcessControlService):
    """Keeps what the phone tells of each process, which may be before a launch gave its id."""

    def __init__(self, ctx: DTXContext) -> None:
        super().__init__(ctx)
        self.lost = False
        self._runs: dict[int, Watched] = {}

    def run(self, pid: int) -> Watched:
        """A process."""
        return self._runs.setdefault(pid, Watched())

    def on_closed(self, reason: str = "") -> None:
        """See ``DTXService``."""
        self.lost = True
        for run in self._runs.values():
            run.lose()
        super().on_closed(reason)

    @dtx_on_invoke("outputReceived:fromProcess:atTime:")
    async def _on_output_received(self, message: Any, pid: Any, timestamp: Any) -> None:
        del timestamp
        self.run(int(_plain(pid))).hear(str(_plain(message)))

    @dtx_on_invoke("processWithPID:terminatedWithExitCode:orCrashingSignal:")
    async def _on_process_terminated(self, pid: Any, exit_code: Any, crashing_signal: Any) -> None:
        code, signal = _plain(exit_code), _plain(crashing_signal)
        self.run(int(_plain(pid))).finish(
            None if code is None else int(code), None if signal is None else int(signal)
        )


class NotStarted(Exception):
    """The phone gave no process."""


class ProcessWatch(DtxService[WatchService]):
    """Starts apps, signals them and hears of them."""

    def run(self, pid: int) -> Watched:
        """What was heard of a process."""
        return self.service.run(pid)

    @property
    def lost(self) -> bool:
        """Whether nothing more can be heard."""
        return bool(self.service.lost)

    async def launch(
        self, bundle: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> int:
        """Start an app in a fresh process; its id.

        Raises:
            NotStarted: the phone gave none; where it says why, the library raises that.
        """
        start = getattr(self.service, _START)
        pid = await start(
            "",
            bundle,
            dict(environment),
            list(arguments),
            {"StartSuspendedKey": False, "KillExisting": True},
        )
        if not pid:
            raise NotStarted(f"{bundle} was not started, and the phone does not say why")
        return int(pid)

    async def kill(self, pid: int) -> None:
        """Have the phone kill a process."""
        await self.service.send_signal_to_pid_(_SIGKILL, pid)


def _plain(value: Any) -> Any:
    """The value behind one of the protocol's own kinds of number or text."""
    return getattr(value, "value", value)
