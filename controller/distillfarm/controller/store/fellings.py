"""Models that take devices down, in the database."""

import msgspec
from sqlmodel import col, select

from distillfarm.controller.scheduling.conduct import Felling
from distillfarm.controller.store.database import Database
from distillfarm.controller.store.jobs import job_row, to_job
from distillfarm.controller.store.tables import LIVE, DeviceRow, FellingRow, LeaseRow
from distillfarm.domain.hardware import DeviceInfo
from distillfarm.domain.job import Lease


class FellingStore(Database):
    """The fellings' part of ``protocol.Store``."""

    def add_felling(self, lease: Lease, now_s: float) -> None:
        """See ``protocol.Store``."""
        key = lease.device_id, lease.token
        with self.writing() as session:
            held = session.get(LeaseRow, key)
            if held is None or held.end != LIVE or held.job_id != lease.job_id:
                return
            if session.get(FellingRow, key) is None:
                request = to_job(job_row(session, lease.job_id)).request
                session.add(
                    FellingRow(
                        device_id=lease.device_id,
                        token=lease.token,
                        artifact_digest=request.artifact.digest,
                        target=str(request.target),
                        at_s=now_s,
                    )
                )

    def fellings(self, artifact_digest: str) -> list[Felling]:
        """See ``protocol.Store``."""
        with self.reading() as session:
            found = session.exec(
                select(FellingRow, DeviceRow)
                .where(
                    FellingRow.artifact_digest == artifact_digest,
                    FellingRow.device_id == DeviceRow.device_id,
                )
                .order_by(col(FellingRow.at_s), col(FellingRow.device_id))
            ).all()
        return [_to_felling(row, device) for row, device in found]

    def forgive(self, artifact_digest: str) -> int:
        """See ``protocol.Store``."""
        with self.writing() as session:
            rows = session.exec(
                select(FellingRow).where(FellingRow.artifact_digest == artifact_digest)
            ).all()
            for row in rows:
                session.delete(row)
            return len(rows)


def _to_felling(row: FellingRow, device: DeviceRow) -> Felling:
    info = msgspec.json.decode(device.info, type=DeviceInfo)
    return Felling(row.target, row.device_id, info.serial, info.emulated, row.at_s)
