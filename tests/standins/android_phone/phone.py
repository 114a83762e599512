"""A stand-in phone that runs: its start, its end, and what can happen to it."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from android_phone import emulation, needs, network, slots
from android_phone.identities import Identity
from android_phone.init import Plan
from android_phone.needs import NoPhone
from android_phone.root import Root, ready_root
from android_phone.slots import Slot
from android_phone.state import State

_INIT = Path(__file__).with_name("init.py")
_START_S = 30.0
_POLL_S = 0.05
_BUSY_TICK_S = 0.02
_DATA = "data/local/tmp"
_FILLER = ".filler"


class Phone:
    """A phone with ``identity`` at 10.77.INDEX.2, the first free index where none is named.

    As a context manager it starts and stops. Its changeable facts are ``state``'s. After a
    restart its settings and what lies in /data/local/tmp are still there.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        index: int | None = None,
        root: Root | None = None,
        data_bytes: int = 512 * 2**20,
    ) -> None:
        self.name = name
        self.identity = identity
        self._index = index
        self._root = root
        self._data_bytes = data_bytes
        self._slot: Slot | None = None
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def index(self) -> int:
        """The number of its network."""
        return self._claimed.index

    @property
    def address(self) -> str:
        """What ``adb connect`` takes, and its serial then."""
        return network.address(self.index)

    @property
    def state(self) -> State:
        """What it tells of itself."""
        return State(self._claimed.folder, self.identity)

    @property
    def data(self) -> Path:
        """/data/local/tmp as this computer sees it."""
        return Path(f"/proc/{self._init_pid}/root/{_DATA}")

    def start(self) -> None:
        """Start it and wait until adbd listens.

        Raises:
            NoPhone: something is missing, or it does not come up.
        """
        needs.check()
        self._root = self._root or ready_root()
        emulation.enable(self._root)
        self._slot = slots.claim(self._index)
        try:
            network.clear(self.index)
            self.state.reset()
            self._boot(self._root)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it at once, with everything in it; nothing of it stays; idempotent."""
        self._end()
        if self._slot is not None:
            self._slot.give_back()
            self._slot = None

    def reboot(self) -> None:
        """Restart it: everything that ran is gone, the boot id is another, the files stay."""
        kept = self._claimed.folder / "kept"
        needs.run(["cp", "--archive", self.data, kept])
        self._end()
        self._boot(self._root or ready_root(), kept)
        shutil.rmtree(kept)

    def os_update(self, fingerprint: str) -> None:
        """Install another build, which restarts the phone."""
        self.state.set_property("ro.build.fingerprint", fingerprint)
        self.reboot()

    def cut_link(self) -> None:
        """Cut its network silently."""
        network.cut(self._init_pid)

    def restore_link(self) -> None:
        """Undo ``cut_link``."""
        network.restore(self._init_pid)

    def freeze(self) -> None:
        """Have adbd stop without closing anything."""
        self._order("freeze")

    def thaw(self) -> None:
        """Undo ``freeze``."""
        self._order("thaw")

    def kill_adbd(self) -> None:
        """Kill adbd; it is started again a second later, as Android does."""
        self._order("kill")

    def stop_adbd(self) -> None:
        """Kill adbd for good."""
        self._order("stop")

    def start_adbd(self) -> None:
        """Start adbd after ``stop_adbd`` and wait until it listens."""
        self._order("start")
        self._wait_for_adbd()

    def fill_disk(self, left_bytes: int = 0) -> None:
        """Fill /data/local/tmp but for ``left_bytes``."""
        disk = os.statvfs(self.data)
        size_bytes = disk.f_bavail * disk.f_frsize - left_bytes
        with (self.data / _FILLER).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)

    def free_disk(self) -> None:
        """Undo ``fill_disk``."""
        (self.data / _FILLER).unlink(missing_ok=True)

    def heal(self) -> None:
        """Undo every fault, and have everything told as recorded; a no-op on a sound phone."""
        self.restore_link()
        self.thaw()
        self.free_disk()
        self.state.reset()
        self.start_adbd()

    @contextmanager
    def busy(self, cores: float) -> Iterator[None]:
        """Have other work keep so many cores busy, as /proc/stat tells."""
        done = threading.Event()
        began_s = time.monotonic()

        def work() -> None:
            while not done.wait(_BUSY_TICK_S):
                self.state.set_busy(cores * (time.monotonic() - began_s))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @property
    def _claimed(self) -> Slot:
        if self._slot is None:
            raise NoPhone(f"the phone {self.name} does not run: start it")
        return self._slot

    @property
    def _init_pid(self) -> int:
        """The phone's first process, as this computer counts."""
        if self._process is None:
            raise NoPhone(f"the phone {self.name} does not run: start it")
        pid = self._process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def _boot(self, root: Root, kept: Path | None = None) -> None:
        folder = self._claimed.folder
        stage = folder / "stage"
        stage.mkdir(exist_ok=True)
        state = self.state
        state.boot()
        plan = Plan(
            root=str(root.files),
            stage=str(stage),
            told=str(state.told),
            sys=str(state.sys),
            proc=str(state.proc),
            data_bytes=self._data_bytes,
            libraries=self.identity.npu_libraries,
        )
        namespaces = ("--net", "--mount", "--pid", "--uts", "--ipc")
        self._process = subprocess.Popen(
            [
                *("unshare", *namespaces, "--fork", "--kill-child=SIGKILL"),
                *(sys.executable, "-I", str(_INIT), json.dumps(dataclasses.asdict(plan))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("w"),
            text=True,
        )
        self._expect("mounted")
        network.connect(self.index, self._init_pid)
        if kept is not None:
            needs.run(["cp", "--archive", f"{kept}/.", self.data])
        self._order("go", "started")
        self._wait_for_adbd()

    def _end(self) -> None:
        if self._process is not None:
            # Its end is the end of everything in its namespaces.
            with suppress(ValueError, ProcessLookupError, FileNotFoundError):
                os.kill(self._init_pid, signal.SIGKILL)
            self._process.kill()
            self._process.communicate()
            self._process = None
            network.clear(self.index)

    def _order(self, order: str, answer: str = "done") -> None:
        if self._process is None or self._process.stdin is None:
            raise NoPhone(f"the phone {self.name} does not run: start it")
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        self._expect(answer)

    def _expect(self, answer: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        told = self._process.stdout.readline().strip()
        if told != answer:
            words = (self._claimed.folder / "errors").read_text().strip()
            raise NoPhone(f"the phone {self.name} did not come up: {words[-400:]}")

    def _wait_for_adbd(self) -> None:
        host, _, port = self.address.partition(":")
        ends_s = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1.0).close()
            except OSError as error:
                if time.monotonic() > ends_s:
                    raise NoPhone(f"adbd of {self.name} does not listen: {error}") from error
                time.sleep(_POLL_S)
            else:
                return
