"""Studies, their trials and their progress in the database."""

from collections.abc import Callable

import msgspec
import sqlalchemy
from sqlmodel import Session, col, select

from distillfarm.controller.store.database import Database
from distillfarm.controller.store.tables import EventRow, StudyRow, TrialRow
from distillfarm.domain.errors import AlreadyExists, NotFound
from distillfarm.domain.study import Study, StudyEvent, StudySpec, StudyState, Trial


class StudyStore(Database):
    """The studies' part of ``protocol.Store``.

    ``on_study_change`` is called with a study's id after its record or its events have changed, in
    the thread that changed them.
    """

    on_study_change: Callable[[str], None] = staticmethod(lambda _study_id: None)

    def create_study(self, study_id: str, spec: StudySpec, now_s: float) -> Study:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = session.get(StudyRow, study_id)
            if row is None:
                study = Study(study_id, spec, StudyState.QUEUED, now_s)
                session.add(_to_row(study))
                return study
        study = _to_study(row)
        if study.spec != spec:
            raise AlreadyExists(f"{study_id} exists with another spec; use a fresh key")
        return study

    def study(self, study_id: str) -> Study:
        """See ``protocol.Store``."""
        with self.reading() as session:
            return _to_study(_study_row(session, study_id))

    def studies(self) -> list[Study]:
        """See ``protocol.Store``."""
        newest_first = col(StudyRow.created_at_s).desc(), col(StudyRow.study_id)
        with self.reading() as session:
            rows = session.exec(select(StudyRow).order_by(*newest_first)).all()
        return [_to_study(row) for row in rows]

    def put_study(self, study: Study) -> None:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = _study_row(session, study.study_id)
            if StudyState(row.state).final and row.state != study.state.value:
                return
            row.state = study.state.value
            row.record = msgspec.json.encode(study).decode()
        self.on_study_change(study.study_id)

    def put_trial(self, trial: Trial) -> None:
        """See ``protocol.Store``."""
        with self.writing() as session:
            _study_row(session, trial.study_id)
            record = msgspec.json.encode(trial).decode()
            statement = select(TrialRow).where(TrialRow.trial_id == trial.trial_id)
            row = session.exec(statement).one_or_none()
            if row is None:
                row = TrialRow(trial_id=trial.trial_id, study_id=trial.study_id, record=record)
                session.add(row)
            row.record = record

    def trials(self, study_id: str) -> list[Trial]:
        """See ``protocol.Store``."""
        in_order = col(TrialRow.sequence)
        with self.reading() as session:
            _study_row(session, study_id)
            rows = session.exec(
                select(TrialRow).where(TrialRow.study_id == study_id).order_by(in_order)
            ).all()
        return [msgspec.json.decode(row.record, type=Trial) for row in rows]

    def add_event(
        self,
        study_id: str,
        stage: str,
        text: str,
        now_s: float,
        *,
        done: int = 0,
        total: int = 0,
        left_s: float = -1.0,
    ) -> StudyEvent:
        """See ``protocol.Store``."""
        with self.writing() as session:
            _study_row(session, study_id)
            newest = sqlalchemy.func.max(EventRow.sequence)
            last = session.exec(select(newest).where(EventRow.study_id == study_id)).one()
            event = StudyEvent(study_id, (last or 0) + 1, now_s, stage, text, done, total, left_s)
            record = msgspec.json.encode(event).decode()
            session.add(EventRow(study_id=study_id, sequence=event.sequence, record=record))
        self.on_study_change(study_id)
        return event

    def events(self, study_id: str, after_sequence: int = 0) -> list[StudyEvent]:
        """See ``protocol.Store``."""
        with self.reading() as session:
            _study_row(session, study_id)
            rows = session.exec(
                select(EventRow)
                .where(EventRow.study_id == study_id, EventRow.sequence > after_sequence)
                .order_by(col(EventRow.sequence))
            ).all()
        return [msgspec.json.decode(row.record, type=StudyEvent) for row in rows]


def _study_row(session: Session, study_id: str) -> StudyRow:
    row = session.get(StudyRow, study_id)
    if row is None:
        raise NotFound(f"study {study_id} is unknown; see `distillfarm study list`")
    return row


def _to_row(study: Study) -> StudyRow:
    return StudyRow(
        study_id=study.study_id,
        state=study.state.value,
        created_at_s=study.created_at_s,
        record=msgspec.json.encode(study).decode(),
    )


def _to_study(row: StudyRow) -> Study:
    return msgspec.json.decode(row.record, type=Study)
