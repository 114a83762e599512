"""Leases in the database: granting, renewing, ending, and taking results under them."""

from collections.abc import Sequence

import msgspec
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from distillfarm.controller.scheduling.conduct import Ending
from distillfarm.controller.store import measurements
from distillfarm.controller.store.database import Database
from distillfarm.controller.store.devices import busy_devices, device_row, to_device
from distillfarm.controller.store.jobs import job_row, to_job
from distillfarm.controller.store.tables import LIVE, DeviceRow, JobRow, LeaseRow, MeasurementRow
from distillfarm.domain.agent import JobResult
from distillfarm.domain.errors import AlreadyExists, Blame, InvalidRequest, LeaseLost
from distillfarm.domain.hardware import DeviceStatus
from distillfarm.domain.job import Job, JobState, Lease

_FINISHED, _EXPIRED, _RELEASED = "finished", "expired", "released"
_ERROR = "error: "


class LeaseStore(Database):
    """The leases' part of ``protocol.Store``."""

    def grant(self, pairs: Sequence[tuple[str, str]], now_s: float, lease_s: float) -> list[Lease]:
        """See ``protocol.Store``."""
        granted = []
        with self.writing() as session:
            busy = set(busy_devices(session))
            jobs = {
                row.job_id: row
                for row in session.exec(
                    select(JobRow).where(col(JobRow.job_id).in_([pair[0] for pair in pairs]))
                )
            }
            for job_id, device_id in pairs:
                job, device = jobs.get(job_id), session.get(DeviceRow, device_id)
                if job is None or device is None or job.state != JobState.QUEUED.value:
                    continue
                if to_device(device, busy).status is not DeviceStatus.IDLE:
                    continue
                busy.add(device_id)
                device.last_token += 1
                job.state, job.device_id = JobState.RUNNING.value, device_id
                job.attempts += 1
                lease = Lease(
                    job_id, device_id, device.agent_id, device.last_token, now_s + lease_s
                )
                session.add(_to_row(lease))
                granted.append(lease)
        return granted

    def renew(self, leases: Sequence[Lease], now_s: float, lease_s: float) -> list[Lease]:
        """See ``protocol.Store``."""
        renewed = []
        with self.writing() as session:
            for lease in leases:
                row = session.get(LeaseRow, (lease.device_id, lease.token))
                if row is None or row.end != LIVE or row.job_id != lease.job_id:
                    continue
                row.expires_at_s = now_s + lease_s
                renewed.append(_to_lease(row))
        return renewed

    def leases(self) -> list[Lease]:
        """See ``protocol.Store``."""
        with self.reading() as session:
            return [_to_lease(row) for row in session.exec(_live_leases())]

    def expire(self, now_s: float) -> list[Lease]:
        """See ``protocol.Store``."""
        with self.writing() as session:
            rows = session.exec(_live_leases().where(LeaseRow.expires_at_s <= now_s)).all()
            for row in rows:
                _end(session, row, _EXPIRED)
            return [_to_lease(row) for row in rows]

    def release(self, lease: Lease, now_s: float) -> Job:  # noqa: ARG002
        """See ``protocol.Store``."""
        with self.writing() as session:
            row = session.get(LeaseRow, (lease.device_id, lease.token))
            if row is not None and row.end == LIVE and row.job_id == lease.job_id:
                _end(session, row, _RELEASED)
            return to_job(job_row(session, lease.job_id))

    def finish(self, result: JobResult, now_s: float, max_attempts: int) -> Job:  # noqa: ARG002
        """See ``protocol.Store``."""
        lease, measurement = result.lease, result.measurement
        _check(result)
        identity = measurement.measurement_id if measurement else f"{_ERROR}{result.error}"
        with self.writing() as session:
            row = session.get(LeaseRow, (lease.device_id, lease.token))
            if row is None or row.job_id != lease.job_id:
                raise LeaseLost(f"{lease.job_id}: no lease {lease.token} on {lease.device_id}")
            job = job_row(session, lease.job_id)
            if row.end == _FINISHED and row.result == identity:
                return to_job(job)
            if row.end != LIVE:
                raise LeaseLost(
                    f"{lease.job_id}: lease {lease.token} on {lease.device_id} is {row.end}; "
                    "its result does not count"
                )
            if measurement:
                if session.get(MeasurementRow, measurement.measurement_id) is not None:
                    raise AlreadyExists(f"{measurement.measurement_id} is another measurement")
                session.add(measurements.to_row(measurement, job.study_id))
                job.state, job.measurement_id = JobState.DONE.value, measurement.measurement_id
            elif result.retryable and job.attempts < max_attempts:
                job.state, job.device_id = JobState.QUEUED.value, ""
            else:
                job.state, job.error = JobState.FAILED.value, result.error
            row.end, row.result = _FINISHED, identity
            if not measurement or result.felled:
                row.blame = result.blame.value
                _note_failure(job, lease.device_id)
            return to_job(job)

    def endings(self, device_id: str, most: int) -> list[Ending]:
        """See ``protocol.Store``."""
        with self.reading() as session:
            telling = (
                select(LeaseRow)
                .where(
                    LeaseRow.device_id == device_id,
                    LeaseRow.end == _FINISHED,
                    LeaseRow.blame != Blame.MODEL.value,
                    LeaseRow.token > device_row(session, device_id).forgiven_token,
                )
                .order_by(col(LeaseRow.token).desc())
                .limit(most)
            )
            return [_to_ending(row) for row in session.exec(telling)]


def _note_failure(job: JobRow, device_id: str) -> None:
    known = msgspec.json.decode(job.failed_on, type=list[str])
    if device_id not in known:
        job.failed_on = msgspec.json.encode([*known, device_id]).decode()


def _to_ending(row: LeaseRow) -> Ending:
    if not row.blame:
        return Ending(None)
    return Ending(Blame(row.blame), row.result.removeprefix(_ERROR))


def _check(result: JobResult) -> None:
    if (result.measurement is None) == (not result.error):
        raise InvalidRequest(f"{result.lease.job_id}: a result is a measurement or an error")
    measured = result.measurement
    named = (result.lease.job_id, result.lease.device_id)
    if measured and (measured.job_id, measured.device_id) != named:
        raise InvalidRequest(
            f"{result.lease.job_id}: the measurement names {measured.job_id} on "
            f"{measured.device_id}, the lease {result.lease.device_id}"
        )


def _end(session: Session, lease: LeaseRow, how: str) -> None:
    lease.end = how
    job = job_row(session, lease.job_id)
    job.state, job.device_id = JobState.QUEUED.value, ""


def _live_leases() -> SelectOfScalar[LeaseRow]:
    return select(LeaseRow).where(LeaseRow.end == LIVE)


def _to_lease(row: LeaseRow) -> Lease:
    return Lease(row.job_id, row.device_id, row.agent_id, row.token, row.expires_at_s)


def _to_row(lease: Lease) -> LeaseRow:
    return LeaseRow(
        device_id=lease.device_id,
        token=lease.token,
        job_id=lease.job_id,
        agent_id=lease.agent_id,
        expires_at_s=lease.expires_at_s,
        end=LIVE,
        result="",
    )
