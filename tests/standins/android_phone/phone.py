"""A stand-in phone that runs: its start, its end, and what can happen to it."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from android_phone import emulation, needs, network, slots
from android_phone.identities import Identity
from android_phone.init import Plan
from android_phone.needs import NoPhone
from android_phone.process import Processes
from android_phone.root import Root, ready_root
from android_phone.slots import Slot
from android_phone.state import State

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
        self._processes: Processes | None = None

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
        return Path(f"/proc/{self._running.pid}/root/{_DATA}")

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
        network.cut(self._running.pid)

    def restore_link(self) -> None:
        """Undo ``cut_link``."""
        network.restore(self._running.pid)
        # A daemon that is stopped refuses, which is an answer, too.
        self._wait_for(lambda: network.answer(self.index) in (0, errno.ECONNREFUSED))

    def freeze(self) -> None:
        """Have adbd stop without closing anything."""
        self._running.order("freeze")

    def thaw(self) -> None:
        """Undo ``freeze``."""
        self._running.order("thaw")

    def kill_adbd(self) -> None:
        """Kill adbd; it is started again a second later, as Android does."""
        self._running.order("kill")

    def stop_adbd(self) -> None:
        """Kill adbd for good."""
        self._running.order("stop")

    def start_adbd(self) -> None:
        """Start adbd after ``stop_adbd`` and wait until it listens."""
        self._running.order("start")
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

    def heal(self, kept: str = "") -> None:
        """Have it as it was after its first start, but for the boot id: sound, empty, at rest.

        What is ``kept`` of the names in /data/local/tmp stays there.
        """
        self.restore_link()
        self.thaw()
        self.start_adbd()
        self._running.order("sweep")
        for left in [path for path in self.data.iterdir() if path.name != kept]:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.state.reset()

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
    def _running(self) -> Processes:
        if self._processes is None:
            raise NoPhone(f"the phone {self.name} does not run: start it")
        return self._processes

    def _boot(self, root: Root, kept: Path | None = None) -> None:
        folder, state = self._claimed.folder, self.state
        stage = folder / "stage"
        stage.mkdir(exist_ok=True)
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
        self._processes = Processes(plan, folder / "errors")
        network.connect(self.index, self._processes.pid)
        if kept is not None:
            needs.run(["cp", "--archive", f"{kept}/.", self.data])
        self._processes.begin()
        self._wait_for_adbd()

    def _end(self) -> None:
        if self._processes is not None:
            self._processes.end()
            self._processes = None
            network.clear(self.index)

    def _wait_for_adbd(self) -> None:
        self._wait_for(lambda: network.answer(self.index) == 0)

    def _wait_for(self, holds: Callable[[], bool]) -> None:
        ends_s = time.monotonic() + _START_S
        while not holds():
            if time.monotonic() > ends_s:
                raise NoPhone(f"adbd of {self.name} cannot be reached at {self.address}")
            time.sleep(_POLL_S)
