"""What a study tells while it runs: its record, its events, and whether it is to stop."""

import time
from collections.abc import Callable
from dataclasses import replace

from distillfarm.controller.durable import ControllerStopping
from distillfarm.controller.progress import Progress
from distillfarm.controller.tools import Tools
from distillfarm.domain.errors import Cancelled
from distillfarm.domain.study import Study, StudySpec, StudyState

LOOK_EVERY_S = 0.5
"""How often a stage that waits asks whether it is to stop."""
_LINE_EVERY_S = 2.0


class Telling:
    """One study's voice; every stage of it speaks through this, with how far the study is."""

    def __init__(self, tools: Tools, study: Study) -> None:
        self._store = tools.store
        self._stopping = tools.stopping
        self.study_id = study.study_id
        self.spec: StudySpec = study.spec
        self.progress = Progress()
        self._looked_at_s = 0.0
        self._line_at_s = 0.0

    def say(self, stage: str, text: str, under_way: float = 0.0) -> None:
        """Append an event; ``under_way`` units of the stage are done but not yet counted."""
        self._line_at_s = time.monotonic()
        self._store.add_event(
            self.study_id,
            stage,
            text,
            time.time(),
            done=self.progress.done_with(stage, under_way),
            total=self.progress.total,
            left_s=self.progress.left_s(stage, under_way),
        )

    def line(self, stage: str, text: str, under_way: float = 0.0) -> None:
        """Append an event unless there was one a moment ago: for what changes all the time."""
        if time.monotonic() - self._line_at_s >= _LINE_EVERY_S:
            self.say(stage, text, under_way)

    def reporter(
        self, stage: str, under_way: Callable[[], float] = lambda: 0.0
    ) -> Callable[[float, str], None]:
        """What a long step calls with the share (0..1) that is done and a word on it."""

        def report(fraction: float, text: str) -> None:
            share = f" ({fraction:.0%})" if fraction else ""
            self.line(stage, f"{text}{share}", under_way())

        return report

    def cancelled(self) -> bool:
        """Looks whether the study is to stop; never true, for it raises.

        Raises:
            Cancelled: somebody cancelled the study.
            ControllerStopping: the controller stops, and the study goes on at its next start.
        """
        if self._stopping():
            raise ControllerStopping
        now = time.monotonic()
        if now - self._looked_at_s < LOOK_EVERY_S:
            return False
        self._looked_at_s = now
        if self._store.study(self.study_id).state is StudyState.CANCELLED:
            raise Cancelled(f"{self.study_id}: cancelled")
        return False

    def put(self, **changes: object) -> None:
        """Change the study's record."""
        study = self._store.study(self.study_id)
        self._store.put_study(replace(study, **changes))  # type: ignore[arg-type]

    def end(self, state: StudyState, reason: str) -> None:
        """Finish early, for ``reason``."""
        if not self._store.study(self.study_id).state.final:
            self.say("decide", f"{state.value}: {reason}")
            self.put(state=state, error=reason, finished_at_s=time.time())
