"""Measurements in the database."""

import msgspec
from sqlmodel import col, select

from distillfarm.controller.store.database import Database
from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.controller.store.tables import MeasurementRow
from distillfarm.domain.errors import NotFound
from distillfarm.domain.measurement import Measurement


class MeasurementStore(Database):
    """The measurements' part of ``protocol.Store``."""

    def measurement(self, measurement_id: str) -> Measurement:
        """See ``protocol.Store``."""
        with self.reading() as session:
            row = session.get(MeasurementRow, measurement_id)
        if row is None:
            raise NotFound(f"measurement {measurement_id} is unknown")
        return msgspec.json.decode(row.record, type=Measurement)

    def measurements(self, query: MeasurementQuery) -> list[Measurement]:
        """See ``protocol.Store``."""
        statement = select(MeasurementRow).order_by(col(MeasurementRow.started_at_s).desc())
        for column, wanted in (
            (MeasurementRow.artifact_digest, query.artifact_digest),
            (MeasurementRow.device_id, query.device_id),
            (MeasurementRow.study_id, query.study_id),
        ):
            if wanted:
                statement = statement.where(col(column) == wanted)
        if query.newer_than_s:
            statement = statement.where(MeasurementRow.started_at_s > query.newer_than_s)
        with self.reading() as session:
            rows = session.exec(statement).all()
        return [msgspec.json.decode(row.record, type=Measurement) for row in rows]


def to_row(measurement: Measurement, study_id: str) -> MeasurementRow:
    """The row of a measurement that was taken for a study, or for none."""
    return MeasurementRow(
        measurement_id=measurement.measurement_id,
        job_id=measurement.job_id,
        device_id=measurement.device_id,
        artifact_digest=measurement.artifact_digest,
        study_id=study_id,
        started_at_s=measurement.started_at_s,
        record=msgspec.json.encode(measurement).decode(),
    )
