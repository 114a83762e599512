"""The phone's log: what apps print and the system saves, to whoever listens."""

import asyncio
import time
from dataclasses import dataclass

_KEPT = 10_000


@dataclass(frozen=True)
class Entry:
    """A line: who said it, by number, program and library, and when."""

    pid: int
    program: str
    library: str
    text: str
    unix_s: float


class Log:
    """Passes every entry on to every listener that there is at the time."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Entry]] = set()

    def write(self, pid: int, program: str, library: str, text: str) -> None:
        """Say something; a listener that does not keep up misses it."""
        entry = Entry(pid, program, library, text, time.time())
        for listener in self._listeners:
            if not listener.full():
                listener.put_nowait(entry)

    def saved_report(self, name: str, kind: str) -> None:
        """Say that a crash report was saved, as osanalyticshelper does."""
        self.write(
            *(300, "/System/Library/CoreServices/osanalyticshelper"),
            "/System/Library/PrivateFrameworks/OSAnalytics.framework/OSAnalytics",
            f"Saved type '{kind}' report (1 of max 25) at"
            f" /var/mobile/Library/Logs/CrashReporter/{name}",
        )

    def listen(self) -> asyncio.Queue[Entry]:
        """A queue that gets every entry from now on, until ``leave``."""
        listener: asyncio.Queue[Entry] = asyncio.Queue(_KEPT)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: asyncio.Queue[Entry]) -> None:
        """Listen no more."""
        self._listeners.discard(listener)
