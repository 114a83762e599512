"""Tasks for the tests of the sandbox: some good, most bad. Run only inside it."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from distillfarm.compression.protocols import PassRefused
from distillfarm.domain.errors import ModelRejected

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Tried:
    wrote: bool
    connected: bool
    signalled: bool


class AssertGone(Protocol):
    """Checks that processes end within moments."""

    def __call__(self, *pids: int) -> None: ...


def echo(request: Text, report: Report) -> Text:
    print("noise on standard output")  # noqa: T201 - what any library may do
    report(0.5, "half\x1b[31m way\nthere")
    return Text(request.text.upper())


def reject(request: Text, report: Report) -> Text:
    raise ModelRejected(request.text)


def refuse_pass(request: Text, report: Report) -> Text:
    raise PassRefused(request.text)


def defect(request: Text, report: Report) -> Text:
    raise ZeroDivisionError(request.text)


def segfault(request: Text, report: Report) -> Text:
    ctypes.string_at(0)
    return request


def hoard(request: Text, report: Report) -> Text:
    hold = []
    while True:
        hold.append(b"x" * 10_000_000)


def one_big_block(request: Text, report: Report) -> Text:
    return Text(str(len(bytearray(int(request.text)))))


def sleep(request: Text, report: Report) -> Text:
    report(0.1, str(os.getpid()))
    time.sleep(600)
    return request


def fill_disk_with_one_file(request: Text, report: Report) -> Text:
    with Path("big").open("wb") as file:
        while True:
            file.write(b"x" * 1_000_000)


def fill_disk_with_many_files(request: Text, report: Report) -> Text:
    for number in range(10_000):
        Path(f"part{number}").write_bytes(b"x" * 1_000_000)
        time.sleep(0.02)
    return request


def flood(request: Text, report: Report) -> NoReturn:
    block = b"x" * 1_000_000
    while True:
        os.write(2, block)


def lie(request: Text, report: Report) -> Text:
    Path("answer.json").symlink_to(request.text)
    os._exit(0)


def try_to_escape(request: Text, report: Report) -> Tried:
    outside, pid, port = request.text.split("|")
    try:
        Path(outside).write_text("escaped")
        wrote = True
    except OSError:
        wrote = False
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=2).close()
        connected = True
    except OSError:
        connected = False
    try:
        os.kill(int(pid), signal.SIGUSR1)
        signalled = True
    except OSError:
        signalled = False
    return Tried(wrote, connected, signalled)


def environment(request: Text, report: Report) -> Text:
    return Text(" ".join(f"{name}={value}" for name, value in sorted(os.environ.items())))


def family(request: Text, report: Report) -> Text:
    """Starts a child, a session leader and a double-forked orphan, then tells their pids."""
    code = "import time; time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-S", "-c", code])
    leader = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (orphan := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            time.sleep(600)
        os.write(write, str(orphan).encode())
        os._exit(0)
    orphan_pid = os.read(read, 100).decode()
    report(0.5, f"{os.getpid()} {child.pid} {leader.pid} {orphan_pid}")
    if request.text == "stay":
        time.sleep(600)
    return Text("left them behind")
