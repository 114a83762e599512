"""Shows a study while it runs: a live bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from distillfarm.cli import formats
from distillfarm.cli.console import harmless, messages, say
from distillfarm.domain.study import StudyEvent

_LINE_EVERY_S = 10.0


class StudyProgress:
    """Takes a study's events and shows how far it is.

    On a terminal the finished steps scroll by above one bar. In a pipe a line is printed for
    every finished step or new stage, and at most every ten seconds in between.
    """

    def __init__(self) -> None:
        console = messages()
        self._bar = Progress(
            TextColumn("{task.fields[stage]}", style="bold"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, stage="waiting", left="")
        self._line_s = 0.0
        self._shown = ("", -1)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, event: StudyEvent) -> None:
        """Show one event."""
        left = f"{formats.duration(event.left_s)} left" if event.left_s >= 0 else ""
        if not self._bar.disable:
            self._bar.update(
                self._task,
                description=harmless(event.text),
                completed=event.done,
                total=event.total or None,
                stage=event.stage,
                left=left,
            )
        progressed = (event.stage, event.done)
        if progressed != self._shown or time.monotonic() - self._line_s > _LINE_EVERY_S:
            self._shown, self._line_s = progressed, time.monotonic()
            self._print(event, left)

    def _print(self, event: StudyEvent, left: str) -> None:
        steps = f"[{event.done}/{event.total}] " if event.total else ""
        line = f"{steps}{event.stage}: {event.text}{f' ({left})' if left else ''}"
        if self._bar.disable:
            say(line)
        else:
            self._bar.console.print(harmless(line), markup=False, style="dim")
