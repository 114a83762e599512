"""What earlier studies measured, as the search learns from it; blocks."""

from collections.abc import Iterator

from distillfarm.controller.readings import evidence_of
from distillfarm.controller.search.arms import arm
from distillfarm.controller.search.learning import Measured
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.study import Study

MOST_STUDIES = 10
"""The newest alone: each of their chipsets is fitted by itself whenever something is predicted."""


def recollected(store: Store, but: str) -> list[Measured]:
    """The launches of every candidate that ran well in the newest studies but one.

    Another study has another model, also on the same chipset: its latencies compare among
    themselves alone. So each chipset of each study goes by a name of its own.
    """
    studies = [each for each in store.studies() if each.study_id != but][:MOST_STUDIES]
    return [each for study in studies for each in _of(store, study)]


def _of(store: Store, study: Study) -> Iterator[Measured]:
    for trial in store.trials(study.study_id):
        if trial.score is None or trial.exported is None:
            continue
        shown = evidence_of(store, trial)
        if shown is not None and shown.values is not None:
            task = f"{trial.chipset} in {study.study_id}"
            yield Measured(task, arm(trial.trial_id, trial.exported), shown.values)
