"""What earlier studies measured, as the search learns from it; blocks."""

from collections.abc import Iterator

from distillfarm.controller.readings import evidence_of
from distillfarm.controller.search.arms import arm
from distillfarm.controller.search.race import Measured
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.study import Study

MOST_STUDIES = 30
"""The newest studies alone: their trials are read one by one."""


def recollected(store: Store, but: str) -> list[Measured]:
    """The launches of every candidate in the store that ran well, but those of one study."""
    studies = [each for each in store.studies() if each.study_id != but][:MOST_STUDIES]
    return [each for study in studies for each in _of(store, study)]


def _of(store: Store, study: Study) -> Iterator[Measured]:
    for trial in store.trials(study.study_id):
        if trial.score is None or trial.exported is None:
            continue
        shown = evidence_of(store, trial)
        if shown is not None and shown.values is not None:
            yield Measured(trial.chipset, arm(trial.trial_id, trial.exported), shown.values)
