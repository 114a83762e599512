"""Studies as their owners see them: created, watched, cancelled; who runs them is injected."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from distillfarm.controller.changes import Changes, wait
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.ids import derived_id
from distillfarm.domain.study import Study, StudyEvent, StudySpec, Trial

_LOOK_AGAIN_S = 1.0


class StudyRunner(Protocol):
    """Runs the studies that are in the store.

    ``launch`` comes first, ``shutdown`` last; all calls may block, and come from any thread.
    """

    def launch(self) -> None:
        """Begin to run studies, first of all those that an earlier process left."""

    def start(self, study_id: str) -> None:
        """Run a study that is in the store; a study that runs or ran is left alone."""

    def cancel(self, study_id: str) -> None:
        """End a study; without effect when it is final.

        Raises:
            NotFound: there is no such study.
        """

    def shutdown(self) -> None:
        """Stop; what is under way goes on at the next launch."""


class Studies:
    """What the Studies service answers."""

    def __init__(
        self,
        store: Store,
        runner: StudyRunner,
        changes: Changes,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._runner = runner
        self._changes = changes
        self._now = now

    async def create(self, spec: StudySpec, idempotency_key: str) -> Study:
        """Create a study and run it; the same key gives the same study."""

        def create() -> Study:
            study_id = derived_id("study", idempotency_key)
            study = self._store.create_study(study_id, spec, self._now())
            # Also for a study that is there: its creator may have died before starting it.
            self._runner.start(study_id)
            return study

        return await asyncio.to_thread(create)

    async def get(self, study_id: str) -> Study:
        """One study."""
        return await asyncio.to_thread(self._store.study, study_id)

    async def all(self) -> list[Study]:
        """All studies, newest first."""
        return await asyncio.to_thread(self._store.studies)

    async def cancel(self, study_id: str) -> Study:
        """End a study."""
        await asyncio.to_thread(self._runner.cancel, study_id)
        return await self.get(study_id)

    async def trials(self, study_id: str) -> list[Trial]:
        """A study's trials in order of insertion."""
        return await asyncio.to_thread(self._store.trials, study_id)

    async def watch(self, study_id: str, after_sequence: int) -> AsyncIterator[StudyEvent]:
        """Every event after ``after_sequence``, then each new one until the study is final."""
        with self._changes.listen([study_id]) as changed:
            while True:
                # The study is read first: what is told before it became final is not missed.
                study = await self.get(study_id)
                for event in await asyncio.to_thread(self._store.events, study_id, after_sequence):
                    yield event
                    after_sequence = event.sequence
                if study.state.final:
                    return
                # Another process, too, may add events, and nobody tells of those.
                await wait(changed, _LOOK_AGAIN_S)
