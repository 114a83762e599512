"""The tables: the columns that queries need, and each whole record as JSON."""

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

LIVE = ""
"""The ``end`` of a lease that has not ended."""


class SchemaVersionRow(SQLModel, table=True):
    """Which migrations this database has seen; one row."""

    __tablename__ = "schema_version"
    version: int = Field(primary_key=True)


class DeviceRow(SQLModel, table=True):
    """A device; ``last_token`` is the largest token ever granted on it.

    What ended under a token up to ``forgiven_token`` is not held against it any more.
    """

    __tablename__ = "device"
    device_id: str = Field(primary_key=True)
    agent_id: str = Field(index=True)
    online: bool
    offline_note: str
    drained: bool
    drain_note: str
    last_seen_s: float
    last_token: int
    labels: str
    info: str
    name: str = Field(default="")
    quarantined: bool = Field(default=False)
    quarantine_note: str = Field(default="")
    forgiven_token: int = Field(default=0)


class JobRow(SQLModel, table=True):
    """A job; ``sequence`` is the order of submission."""

    __tablename__ = "job"
    sequence: int | None = Field(default=None, primary_key=True)
    job_id: str = Field(unique=True)
    study_id: str = Field(index=True)
    state: str = Field(index=True)
    submitted_at_s: float
    attempts: int
    device_id: str
    measurement_id: str
    error: str
    request: str
    failed_on: str = Field(default="[]")


class LeaseRow(SQLModel, table=True):
    """A lease; ``end`` says how it ended, ``result`` what was taken under it.

    ``blame`` is whose fault the error was that was taken, empty for a measurement.
    """

    __tablename__ = "lease"
    # The database itself refuses a second live lease: a defect above can not double-book a phone.
    __table_args__ = (
        Index(
            "one_live_lease_per_device",
            "device_id",
            unique=True,
            sqlite_where=text("\"end\" = ''"),
            postgresql_where=text("\"end\" = ''"),
        ),
        Index(
            "one_live_lease_per_job",
            "job_id",
            unique=True,
            sqlite_where=text("\"end\" = ''"),
            postgresql_where=text("\"end\" = ''"),
        ),
    )
    device_id: str = Field(primary_key=True)
    token: int = Field(primary_key=True)
    job_id: str
    agent_id: str
    expires_at_s: float
    end: str
    result: str
    blame: str = Field(default="")


class FellingRow(SQLModel, table=True):
    """A device that went down under a lease, while the artifact ran on the target."""

    __tablename__ = "felling"
    device_id: str = Field(primary_key=True)
    token: int = Field(primary_key=True)
    artifact_digest: str = Field(index=True)
    target: str
    at_s: float


class MeasurementRow(SQLModel, table=True):
    """A measurement; a job has at most one."""

    __tablename__ = "measurement"
    measurement_id: str = Field(primary_key=True)
    job_id: str = Field(unique=True)
    device_id: str = Field(index=True)
    artifact_digest: str = Field(index=True)
    study_id: str = Field(index=True)
    started_at_s: float
    record: str


class StudyRow(SQLModel, table=True):
    """A study."""

    __tablename__ = "study"
    study_id: str = Field(primary_key=True)
    state: str
    created_at_s: float
    record: str


class TrialRow(SQLModel, table=True):
    """A trial; ``sequence`` is the order of insertion."""

    __tablename__ = "trial"
    sequence: int | None = Field(default=None, primary_key=True)
    trial_id: str = Field(unique=True)
    study_id: str = Field(index=True)
    record: str


class EventRow(SQLModel, table=True):
    """One line of a study's progress."""

    __tablename__ = "event"
    study_id: str = Field(primary_key=True)
    sequence: int = Field(primary_key=True)
    record: str


class CredentialRow(SQLModel, table=True):
    """A credential by the digest of its secret."""

    __tablename__ = "credential"
    secret_digest: str = Field(primary_key=True)
    subject: str
    role: str
    created_at_s: float
