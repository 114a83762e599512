"""Running apps: each is a process of this computer, which ends with the phone's.

It is one process, as on iOS, where an app cannot start others: what it forks nevertheless is killed
with it, unless the phone itself is.
"""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from iphone_phone.apps import Installed

CONDITIONS_VARIABLE = "IPHONE_CONDITIONS"
"""Names the file that stands for ``ProcessInfo``: ``{"thermal": ..., "low_power_mode": ...}``."""
_HOST_VARIABLES = ("LANG", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH")
_SUSPENDED = ("sh", "-c", 'kill -STOP $$; exec "$@"', "sh")
_ORPHANS_DIE = ("setpriv", "--pdeathsig", "KILL")
_TICKS_HZ = os.sysconf("SC_CLK_TCK")
_MEMORY = re.compile(r"^(VmRSS|RssAnon|RssShmem|VmSize):\s+(\d+) kB$", re.MULTILINE)
_KILL_S = 5.0
# A line longer than that is passed on in parts.
_LINE_BYTES = 2**16


class Watcher(Protocol):
    """Who launched an app and hears of it."""

    async def said(self, pid: int, text: str) -> None:
        """A line of its standard output or error."""

    async def ended(self, pid: int, code: int) -> None:
        """Its exit code; the signal's number below zero."""


@dataclass(frozen=True)
class Sample:
    """What a process uses: memory in all, its own, mapped; and CPU time since its start."""

    resident_bytes: int
    anonymous_bytes: int
    virtual_bytes: int
    cpu_s: float


@dataclass(frozen=True)
class Launch:
    """What a client asks to run, and how."""

    bundle: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    kill_existing: bool = True
    suspended: bool = False


@dataclass(frozen=True)
class Running:
    """A process: ``pid`` is the phone's number for it."""

    pid: int
    app: Installed
    started_s: float
    process: asyncio.subprocess.Process
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def sample(self) -> Sample | None:
        """What it uses now; None once it has ended."""
        folder = Path(f"/proc/{self.process.pid}")
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            memory = dict(_MEMORY.findall((folder / "status").read_text()))
        except OSError:
            return None
        if "VmRSS" not in memory:
            # It has ended and is waited for.
            return None
        return Sample(
            resident_bytes=int(memory["VmRSS"]) * 1024,
            anonymous_bytes=(int(memory["RssAnon"]) + int(memory["RssShmem"])) * 1024,
            virtual_bytes=int(memory["VmSize"]) * 1024,
            cpu_s=(int(words[11]) + int(words[12])) / _TICKS_HZ,
        )

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended takes none."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        """End it with all that it started, and wait until it is off the list."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await asyncio.wait_for(self.gone.wait(), _KILL_S)


async def start(app: Installed, launch: Launch, conditions: Path) -> asyncio.subprocess.Process:
    """Start the app's program in its container, which is its home.

    Raises:
        OSError: its program cannot be run.
    """
    host = {name: os.environ[name] for name in _HOST_VARIABLES if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *_ORPHANS_DIE,
        *(_SUSPENDED if launch.suspended else ()),
        str(app.program),
        *launch.arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=app.container,
        start_new_session=True,
        limit=_LINE_BYTES,
        env={
            **host,
            "HOME": str(app.container),
            "CFFIXED_USER_HOME": str(app.container),
            "TMPDIR": str(app.container / "tmp"),
            CONDITIONS_VARIABLE: str(conditions),
            **launch.environment,
        },
    )
