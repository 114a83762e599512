"""The processes of one phone: namespaces of their own, and a first process that takes orders."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from android_phone.init import Plan
from android_phone.needs import NoPhone

_INIT = Path(__file__).with_name("init.py")
_NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc", "--time")
# What a phone's start takes until adb finds it.
_UP_S = 20


class Processes:
    """Everything that runs in a phone; ``errors`` is the file for what goes wrong in its start."""

    def __init__(self, plan: Plan, errors: Path) -> None:
        """Mount the phone's files; nothing else runs before ``begin``.

        Raises:
            NoPhone: that failed; with its words.
        """
        self._errors = errors
        self._turn = threading.Lock()
        self._pid: int | None = None
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [
                    *("unshare", *_NAMESPACES, *_clocks(), "--fork", "--kill-child=SIGKILL"),
                    *(sys.executable, "-I", str(_INIT), json.dumps(dataclasses.asdict(plan))),
                ],
                # When this end of the pipe goes, with us, so does the phone.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        try:
            self._expect("mounted")
            outer = self._process.pid
            self._pid = int(Path(f"/proc/{outer}/task/{outer}/children").read_text())
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """The first process, as this computer counts."""
        assert self._pid is not None
        return self._pid

    def begin(self) -> None:
        """Start adbd, once the network is there."""
        self.order("go", "started")

    def order(self, word: str, answer: str = "done") -> None:
        """Have the first process do something, and wait until it has.

        Raises:
            NoPhone: it is not there any more.
        """
        with self._turn:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(f"{word}\n")
                self._process.stdin.flush()
            except BrokenPipeError as error:
                raise NoPhone(f"the phone has died: {self._errors.read_text()[-400:]}") from error
            self._expect(answer)

    def end(self) -> None:
        """Kill everything and wait until it is gone."""
        if self._pid is not None:
            with suppress(ProcessLookupError):
                # The first process takes the others along.
                os.kill(self._pid, signal.SIGKILL)
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()

    def _expect(self, answer: str) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != answer:
            words = self._errors.read_text().strip()
            raise NoPhone(f"the phone did not come up: {words[-400:]}")


def _clocks() -> tuple[str, str]:
    """Has the phone's clocks begin with its start: they are not this computer's."""
    boot_s, monotonic_s = time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
    return (
        f"--boottime=-{max(0, int(boot_s) - _UP_S)}",
        f"--monotonic=-{max(0, int(monotonic_s) - _UP_S)}",
    )
