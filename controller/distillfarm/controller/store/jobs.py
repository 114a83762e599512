"""Jobs in the database."""

from collections.abc import Sequence

import msgspec
from sqlmodel import Session, col, select

from distillfarm.controller.store import measurements
from distillfarm.controller.store.database import Database
from distillfarm.controller.store.tables import LIVE, JobRow, LeaseRow
from distillfarm.domain.errors import AlreadyExists, NotFound, WrongState
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import Job, JobRequest, JobState
from distillfarm.domain.measurement import Measurement

CANCELLED = "cancelled"
"""The ``end`` of a lease whose job was cancelled."""


class JobStore(Database):
    """The jobs' part of ``protocol.Store``."""

    def submit(self, request: JobRequest, now_s: float) -> Job:
        """See ``protocol.Store``."""
        job_id = derived_id("job", request.idempotency_key)
        with self.writing() as session:
            row = session.exec(select(JobRow).where(JobRow.job_id == job_id)).one_or_none()
            if row is None:
                row = _fresh(job_id, request, now_s)
                session.add(row)
            job = to_job(row)
        if job.request != request:
            raise AlreadyExists(
                f"idempotency key {request.idempotency_key!r} names {job_id} with another request; "
                "use a fresh key"
            )
        return job

    def job(self, job_id: str) -> Job:
        """See ``protocol.Store``."""
        with self.reading() as session:
            return to_job(job_row(session, job_id))

    def jobs(self, states: Sequence[JobState] = (), study_id: str = "") -> list[Job]:
        """See ``protocol.Store``."""
        statement = select(JobRow).order_by(col(JobRow.sequence))
        if states:
            statement = statement.where(col(JobRow.state).in_([each.value for each in states]))
        if study_id:
            statement = statement.where(JobRow.study_id == study_id)
        with self.reading() as session:
            return [to_job(row) for row in session.exec(statement)]

    def cancel_job(self, job_id: str, now_s: float) -> Job:  # noqa: ARG002
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = job_row(session, job_id)
            if not JobState(row.state).final:
                row.state = JobState.CANCELLED.value
                live = select(LeaseRow).where(LeaseRow.job_id == job_id, LeaseRow.end == LIVE)
                for lease in session.exec(live):
                    lease.end = CANCELLED
            return to_job(row)

    def fail_job(self, job_id: str, error: str, now_s: float) -> Job:  # noqa: ARG002
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = job_row(session, job_id)
            if row.state != JobState.QUEUED.value:
                raise WrongState(f"{job_id} is {row.state}; only a queued job can be given up")
            row.state, row.error = JobState.FAILED.value, error
            return to_job(row)

    def answer(self, job_id: str, measurement: Measurement) -> Job:
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = job_row(session, job_id)
            if row.state != JobState.QUEUED.value:
                raise WrongState(f"{job_id} is {row.state}; only a queued job can be answered")
            session.add(measurements.to_row(measurement, row.study_id))
            row.state, row.device_id = JobState.DONE.value, measurement.device_id
            row.measurement_id = measurement.measurement_id
            return to_job(row)


def job_row(session: Session, job_id: str) -> JobRow:
    """The job's row.

    Raises:
        NotFound: there is no such job.
    """
    row = session.exec(select(JobRow).where(JobRow.job_id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"job {job_id} is unknown")
    return row


def to_job(row: JobRow) -> Job:
    """The domain's form of a row."""
    return Job(
        row.job_id,
        msgspec.json.decode(row.request, type=JobRequest),
        JobState(row.state),
        row.submitted_at_s,
        row.attempts,
        row.device_id,
        row.measurement_id,
        row.error,
        failed_on=msgspec.json.decode(row.failed_on, type=tuple[str, ...]),
    )


def _fresh(job_id: str, request: JobRequest, now_s: float) -> JobRow:
    return JobRow(
        job_id=job_id,
        study_id=request.study_id,
        state=JobState.QUEUED.value,
        submitted_at_s=now_s,
        attempts=0,
        device_id="",
        measurement_id="",
        error="",
        request=msgspec.json.encode(request).decode(),
    )
