"""Guards one program: sets its limits, watches it, and ends it with everything it started.

Run as ``python -I -S supervisor.py`` with one end of a socket pair as standard input (the
lifeline). The first line that arrives is the order (JSON, see ``sandbox.order``). Any later byte
asks for the end, and so does its closing: the parent alone holds the other end, so the kernel
closes it however the parent dies. Two lines go back: the program's pid, and how it ended.

It imports only cheap parts of the standard library, because its start delays every launch, and
sleeps between looks so that it does not disturb a measurement.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOK_EVERY_S = 0.25
FOLDER_LOOK_EVERY_S = 1.0
MAX_PROCESSES = 256
# Memory that frameworks map but never touch: thread stacks, malloc arenas. PyTorch, TensorFlow,
# ONNX Runtime and LiteRT were seen within 110 MB of their resident size.
UNTOUCHED_BYTES = 256 * 1024 * 1024
END_WITHIN_S = 10.0
EXEC_FAILED = 127
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Read the order, start the program, watch it, say how it ended."""
    order = json.loads(_first_line(0))
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    # Only this program may import its neighbour by a bare name: -I -S hides the package.
    import walls  # type: ignore[import-not-found]  # noqa: PLC0415

    walls.adopt_orphans()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    asked_to_stop: list[int] = []
    for each in _STOPS:
        signal.signal(each, lambda number, _: asked_to_stop.append(number))
    program = os.fork()
    if program == 0:
        _become(order, walls)
    # Its output pipes end when the program's copies do.
    for descriptor in (1, 2):
        os.close(descriptor)
    watch = Watch(program, order)
    reason = watch.until_end(wake_read, asked_to_stop)
    watch.end_everything()
    ended = {
        "type": "ended",
        "status": watch.status,
        "reason": reason,
        "peak_rss_bytes": watch.peak_rss_bytes,
    }
    with contextlib.suppress(OSError):
        os.write(0, json.dumps(ended).encode() + b"\n")


class Watch:
    """The program and all its descendants, looked at a few times a second."""

    def __init__(self, program: int, order: dict[str, Any]) -> None:
        self.program = program
        self.memory_bytes = order["memory_bytes"]
        self.disk_bytes = order["disk_bytes"]
        self.folders = order["folders"]
        self.deadline_s = time.monotonic() + order["wall_s"]
        self.folder_start_bytes = sum(map(folder_bytes, self.folders))
        self.folder_look_s = time.monotonic() + FOLDER_LOOK_EVERY_S
        self.parent = os.getppid()
        self.status: int | None = None
        self.peak_rss_bytes = 0

    def until_end(self, wake: int, asked_to_stop: list[int]) -> str:
        """Wait until the program ends or must be ended; the reason, empty for its own end."""
        poll = select.poll()
        poll.register(0, select.POLLIN | select.POLLHUP)
        poll.register(wake, select.POLLIN)
        while True:
            left_s = self.deadline_s - time.monotonic()
            ready = dict(poll.poll(max(0.0, min(LOOK_EVERY_S, left_s)) * 1000))
            if wake in ready:
                os.read(wake, 4096)
            self.reap()
            if self.status is not None:
                return ""
            if 0 in ready or asked_to_stop or os.getppid() != self.parent:
                return "asked"
            if reason := self.excess():
                return reason

    def excess(self) -> str:
        """Which limit is passed now, or nothing."""
        now_s = time.monotonic()
        if now_s >= self.deadline_s:
            return "time"
        tree = descendants(os.getpid())
        rss_bytes = sum(tree.values())
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss_bytes)
        if rss_bytes > self.memory_bytes:
            return "memory"
        if len(tree) > MAX_PROCESSES:
            return "processes"
        if now_s >= self.folder_look_s:
            written_bytes = sum(map(folder_bytes, self.folders)) - self.folder_start_bytes
            # A folder with very many files is looked at less often.
            self.folder_look_s = now_s + max(FOLDER_LOOK_EVERY_S, 20 * (time.monotonic() - now_s))
            if written_bytes > self.disk_bytes:
                return "disk"
        return ""

    def reap(self) -> None:
        """Collect whoever has ended, orphans included."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.program:
                    self.status = os.waitstatus_to_exitcode(status)
                    unit = 1 if sys.platform == "darwin" else 1024
                    self.peak_rss_bytes = max(self.peak_rss_bytes, usage.ru_maxrss * unit)

    def end_everything(self) -> None:
        """Kill every descendant; freezes them first so that none slips away by forking."""
        give_up_s = time.monotonic() + END_WITHIN_S
        frozen: set[int] = set()
        while time.monotonic() < give_up_s:
            self.reap()
            alive = set(descendants(os.getpid()))
            if not alive:
                break
            fresh = alive - frozen
            for pid in fresh or alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGSTOP if fresh else signal.SIGKILL)
            frozen |= fresh
            if not fresh:
                time.sleep(0.002)
        # Where orphans are not adopted (not Linux), the group is what is left to end.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.program, signal.SIGKILL)
        self.reap()


def descendants(root: int) -> dict[int, int]:
    """Every process below ``root`` with its resident bytes (0 for one that has just ended)."""
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return _descendants_by_ps(root)
    page_bytes = resource.getpagesize()
    tree = {}
    queue = [root]
    while queue:
        pid = queue.pop()
        for child in _children(pid):
            tree[child] = _resident_pages(child) * page_bytes
            queue.append(child)
    return tree


def folder_bytes(folder: str) -> int:
    """The disk space under ``folder``; links are not followed."""
    total = 0
    queue = [folder]
    while queue:
        # A file or folder may go while it is looked at.
        with contextlib.suppress(OSError), os.scandir(queue.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - a fresh process, no pathlib cost
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:  # noqa: PTH123
                found += [int(each) for each in file.read().split()]
    return found


def _resident_pages(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1])
    except (OSError, IndexError):
        return 0


def _descendants_by_ps(root: int) -> dict[int, int]:
    """The same from ``ps``, for systems without /proc/.../children, such as macOS."""
    import subprocess  # noqa: PLC0415 - costs 3 ms that Linux need not spend

    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, text=True, check=False
    )
    rows = [tuple(map(int, line.split())) for line in listing.stdout.splitlines()]
    known = {root}
    tree: dict[int, int] = {}
    grew = True
    while grew:
        grew = False
        for pid, parent, kilobytes in rows:
            if parent in known and pid not in known:
                known.add(pid)
                tree[pid] = kilobytes * 1024
                grew = True
    return tree


def _first_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(descriptor, 65536)
        if not chunk:
            sys.exit(0)  # the parent died before it said what to do
        line += chunk
    return line


def _become(order: dict[str, Any], walls: Any) -> None:
    """Turn this forked child into the program; never returns."""
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, *_STOPS):
            signal.signal(each, signal.SIG_DFL)
        lifeline = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.chdir(order["folders"][0])
        raised = walls.raise_around(order["folders"])
        for limit, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, order["disk_bytes"]),
            (resource.RLIMIT_DATA, order["memory_bytes"] + UNTOUCHED_BYTES),
        ):
            _lower(limit, value)
        os.write(
            lifeline,
            json.dumps({"type": "started", "pid": os.getpid(), "walls": raised}).encode() + b"\n",
        )
        environment = order["environment"]
        environment["DISTILLFARM_LAUNCH_NS"] = str(time.monotonic_ns())
        os.execvpe(order["argv"][0], order["argv"], environment)  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot start {order['argv'][0]}: {error}\n".encode())
    os._exit(EXEC_FAILED)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # Not every system has every limit; the watch stands behind each of them.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(limit, (allowed, allowed))


if __name__ == "__main__":
    main()
