"""The log of one pass: what it reported and when, what its processes wrote, what came of it."""

import time
from collections.abc import Callable, Sequence

from distillfarm.domain.variant import CurvePoint
from distillfarm.sandbox.text import one_line

_FIRST_LINES, _LAST_LINES = 500, 4000
_LINE_CHARACTERS = 2000


class PassLog:
    """Collects lines while a pass works; from a long pass the first and the last are kept.

    Call it with (done 0..1, text) for progress, which is passed on to ``report``.
    """

    def __init__(
        self,
        title: str,
        report: Callable[[float, str], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._now_s = now_s
        self._begun_s = now_s()
        self._lines: list[str] = []
        self._left_out = 0
        self._told = ""
        self.say(title)

    def __call__(self, done: float, text: str) -> None:
        """Note progress, repetitions once, and pass it on."""
        if text != self._told:
            self._told = text
            self.say(f"{done:.0%} {text}")
        self._report(done, text)

    def say(self, text: str) -> None:
        """Add a line with the seconds since the beginning."""
        shown = one_line(text, _LINE_CHARACTERS)
        self._lines.append(f"{self._now_s() - self._begun_s:9.2f} s  {shown}")
        if len(self._lines) > _FIRST_LINES + _LAST_LINES:
            del self._lines[_FIRST_LINES]
            self._left_out += 1

    def wrote(self, stderr: str) -> None:
        """Add what a process wrote on standard error: warnings of frameworks, tracebacks."""
        for line in stderr.splitlines():
            if line.strip():
                self.say(f"stderr: {line}")

    def curve(self, points: Sequence[CurvePoint]) -> None:
        """Add a learning curve; qualities are on the selection split."""
        for each in points:
            self.say(f"curve: epoch {each.epoch}, loss {each.loss:.6g}, quality {each.quality:.4f}")

    def text(self) -> bytes:
        """The whole log, UTF-8, in lines."""
        lines = list(self._lines)
        if self._left_out:
            lines.insert(_FIRST_LINES, f"... {self._left_out} lines left out ...")
        return "".join(f"{each}\n" for each in lines).encode()
