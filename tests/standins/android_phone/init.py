"""The first process of a phone: mounts its files, runs adbd and obeys one-word orders.

It runs as a program of its own in new namespaces, so it imports the standard library only. Orders
come line by line on the standard input and are answered by a line each; the end of the input, as
when the test dies, ends the phone.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_MS_RDONLY, _MS_NOSUID, _MS_REMOUNT, _MS_BIND = 1, 2, 32, 4096
_MS_REC, _MNT_DETACH = 16384, 2
_SHELL_USER = 2000
_ADBD = "/usr/lib/android-sdk/platform-tools/adbd"
# adbd's own libraries lie beside it; the processor is the fastest that the emulator knows.
_ENVIRONMENT = {
    "PATH": "/system/bin:/vendor/bin",
    "ADBD_PORT": "5555",
    "ANDROID_DATA": "/data",
    "ANDROID_ROOT": "/system",
    "HOME": "/",
    "TMPDIR": "/data/local/tmp",
    "LD_LIBRARY_PATH": "/usr/lib/aarch64-linux-gnu/android",
    "QEMU_CPU": "cortex-a76",
}
_RESTART_S, _LOOK_S = 1.0, 0.1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Plan:
    """What to mount: ``root`` is the shared root, the others are folders of this phone alone.

    ``stage`` is an empty folder for the mounts. ``libraries`` are file names in /vendor/lib64.
    """

    root: str
    stage: str
    told: str
    sys: str
    proc: str
    data_bytes: int
    libraries: tuple[str, ...]


def main() -> None:
    """Become the phone that the first argument describes."""
    told = json.loads(sys.argv[1])
    plan = Plan(**{**told, "libraries": tuple(told["libraries"])})
    # Android's name for itself.
    socket.sethostname("localhost")
    _mount_files(plan)
    _say("mounted")
    if sys.stdin.readline().strip() != "go":
        return
    _Init().run()


class _Init:
    """Keeps adbd running, collects the dead, obeys."""

    def __init__(self) -> None:
        self._adbd: int | None = None
        self._ended_s = 0.0
        self._wanted = True
        self._rest = b""

    def run(self) -> None:
        # A child's death wakes the select.
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._adbd = _start_adbd()
        _say("started")
        while True:
            stopped = self._wanted and self._adbd is None
            ready, _, _ = select.select([0, reading], [], [], _LOOK_S if stopped else None)
            if reading in ready:
                os.read(reading, 4096)
            self._collect()
            if 0 in ready and not self._obey():
                return
            if stopped and time.monotonic() > self._ended_s + _RESTART_S:
                self._adbd = _start_adbd()

    def _collect(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._adbd:
                self._adbd, self._ended_s = None, time.monotonic()

    def _obey(self) -> bool:
        told = os.read(0, 4096)
        *orders, self._rest = (self._rest + told).split(b"\n")
        for order in orders:
            self._apply(order.decode())
            _say("done")
        return bool(told)

    def _apply(self, order: str) -> None:
        if order in ("kill", "stop"):
            self._wanted = order == "kill"
            self._kill_adbd()
        elif order == "start":
            self._wanted = True
            self._adbd = self._adbd or _start_adbd()
        elif order == "sweep":
            for process in Path("/proc").glob("[0-9]*"):
                if int(process.name) not in (1, self._adbd):
                    _signal(int(process.name), signal.SIGKILL)
        elif self._adbd is not None:
            _signal(self._adbd, {"freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}[order])

    def _kill_adbd(self) -> None:
        if self._adbd is not None:
            _signal(self._adbd, signal.SIGKILL)
            os.waitpid(self._adbd, 0)
            self._adbd, self._ended_s = None, time.monotonic()


def _signal(pid: int, number: int) -> None:
    # It may have ended by itself.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _start_adbd() -> int:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        os.setgroups([_SHELL_USER])
        os.setgid(_SHELL_USER)
        os.setuid(_SHELL_USER)
        os.execve(_ADBD, [_ADBD], _ENVIRONMENT)  # noqa: S606 - no shell is wanted
    return pid


def _mount_files(plan: Plan) -> None:
    """Lay the phone's files over the shared root and leave this computer's behind."""
    stage = Path(plan.stage)
    _mount("tmpfs", stage, "tmpfs")
    upper, work, root = (stage / each for each in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
        folder.chmod(0o755)
    _mount(
        "overlay", root, "overlay", options=f"lowerdir={plan.root},upperdir={upper},workdir={work}"
    )
    for name in plan.libraries:
        (root / "vendor/lib64" / name).touch()
    os.chown(root / "sdcard/Download", _SHELL_USER, _SHELL_USER)
    _mount("proc", root / "proc", "proc", _MS_NOSUID)
    for name, target in (
        ("cpuinfo", "cpuinfo"),
        ("meminfo", "meminfo"),
        ("stat", "stat"),
        ("boot_id", "sys/kernel/random/boot_id"),
    ):
        _bind(Path(plan.proc) / name, root / "proc" / target, read_only=True)
    _bind(Path(plan.sys), root / "sys", read_only=True)
    _bind(Path(plan.told), root / "standin")
    for command in sorted((root / "standin/bin").iterdir()):
        tool = root / "system/bin" / command.name
        tool.unlink(missing_ok=True)
        tool.symlink_to(f"/standin/bin/{command.name}")
    owner = f"uid={_SHELL_USER},gid={_SHELL_USER}"
    _mount(
        "tmpfs",
        root / "data/local/tmp",
        "tmpfs",
        options=f"size={plan.data_bytes},mode=771,{owner}",
    )
    _mount_devices(root / "dev")
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), "/")
    _check(_libc.umount2(b".", _MNT_DETACH), "the old root")
    os.chdir("/")


def _mount_devices(folder: Path) -> None:
    _mount("tmpfs", folder, "tmpfs", options="mode=755")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (folder / name).touch()
        _bind(Path("/dev") / name, folder / name)
    (folder / "pts").mkdir()
    _mount("devpts", folder / "pts", "devpts", options="newinstance,ptmxmode=0666,mode=620")
    (folder / "ptmx").symlink_to("pts/ptmx")


def _bind(source: Path, target: Path, read_only: bool = False) -> None:
    _mount(source, target, flags=_MS_BIND | _MS_REC)
    if read_only:
        _mount(source, target, flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _mount(
    source: str | Path, target: str | Path, kind: str = "", flags: int = 0, options: str = ""
) -> None:
    words = (str(source).encode(), str(target).encode(), kind.encode())
    _check(_libc.mount(*words, ctypes.c_ulong(flags), options.encode()), str(target))


def _check(result: int, place: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), place)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
