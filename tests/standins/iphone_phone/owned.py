"""A process that ends with the test's: it hangs on a pipe of it."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_END_S = 10.0
_SOURCES = Path(__file__).parents[1]


class NoPhone(Exception):
    """Why no stand-in phone can be had here, or what is not right with one."""


class Owned:
    """``python -m MODULE ARGUMENTS``, which answers each line by one and ends with its input.

    ``errors`` is the file for what goes wrong in it. Usable from several threads.
    """

    def __init__(self, module: str, arguments: Sequence[str | Path], errors: Path) -> None:
        """Start it and wait until it is ready.

        Raises:
            NoPhone: it does not come up; with its words.
        """
        self._errors = errors
        self._turn = threading.Lock()
        with errors.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=_SOURCES,
            )
        if self._read() != b"ready\n":
            self.end()
            raise NoPhone(f"{module} does not come up: {self.words()}")

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def words(self) -> str:
        """The last that it said went wrong."""
        return self._errors.read_text(errors="replace")[-2000:]

    def ask(self, line: bytes) -> bytes:
        """Its answer to a line.

        Raises:
            NoPhone: it has died.
        """
        with self._turn:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except BrokenPipeError as error:
                raise NoPhone(f"the process has died: {self.words()}") from error
            if not (answer := self._read()):
                raise NoPhone(f"the process has died: {self.words()}")
            return answer

    def end(self) -> None:
        """Have it end, by force if it does not; idempotent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
