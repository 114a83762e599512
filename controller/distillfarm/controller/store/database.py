"""One database, SQLite or PostgreSQL: opening it, migrating it, and its transactions."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from sqlalchemy import event
from sqlmodel import Session, SQLModel, select

from distillfarm.controller.store import tables
from distillfarm.domain.errors import InvalidRequest, MissingExtra, WrongState

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "ALTER TABLE device ADD COLUMN name VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE device ADD COLUMN quarantined BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE device ADD COLUMN quarantine_note VARCHAR NOT NULL DEFAULT ''",
    ),
    (
        "ALTER TABLE device ADD COLUMN forgiven_token INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE job ADD COLUMN failed_on VARCHAR NOT NULL DEFAULT '[]'",
        "ALTER TABLE lease ADD COLUMN blame VARCHAR NOT NULL DEFAULT ''",
        """CREATE TABLE felling (
            device_id VARCHAR NOT NULL, token INTEGER NOT NULL, artifact_digest VARCHAR NOT NULL,
            target VARCHAR NOT NULL, at_s FLOAT NOT NULL, PRIMARY KEY (device_id, token))""",
        "CREATE INDEX ix_felling_artifact_digest ON felling (artifact_digest)",
    ),
)
"""The statements that lead from schema version N + 1 to N + 2; a fresh database skips them all."""

_BUSY_TIMEOUT_S = 30.0
_WRITE_LOCK = 0x64697374  # "dist": the key of PostgreSQL's advisory lock


class Database:
    """Transactions with one writer at a time, on either database.

    SQLite allows one writer anyway; BEGIN IMMEDIATE makes it wait at the start, where waiting is
    safe, not at the first write, where a reader that became a writer may have to be rolled back
    (https://www.sqlite.org/lang_transaction.html). On PostgreSQL an advisory lock gives the same
    order, so that what is proved on one holds on the other.

    Raises:
        InvalidRequest: a URL that is no SQLite file and no PostgreSQL database.
        MissingExtra: the PostgreSQL driver is not installed.
        WrongState: the database was written by a newer version.
    """

    def __init__(self, url: str, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        self._engine = _open(url)
        self._reader = self._engine.execution_options(read_only=True)
        self._write_lock = threading.Lock()
        with self.writing() as session:
            _migrate(session, migrations)

    def close(self) -> None:
        """Close every connection; the object is of no use afterwards."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that may write; committed unless an exception leaves it."""
        with self._write_lock, Session(self._engine, expire_on_commit=False) as session:
            if self._engine.dialect.name == "postgresql":
                session.connection().exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")
            yield session
            session.commit()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads, and waits for no writer."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session


def _open(url: str) -> sqlalchemy.Engine:
    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise InvalidRequest(f"database URL: {error}") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = sqlalchemy.create_engine(parsed, connect_args={"timeout": _BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend != "postgresql":
        raise InvalidRequest(
            f"database URL {parsed.render_as_string()}: write sqlite:///FILE or postgresql://..."
        )
    try:
        return sqlalchemy.create_engine(parsed.set(drivername="postgresql+psycopg"))
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "PostgreSQL needs its driver: pip install 'distillfarm[postgres]'"
        ) from error


def _configure_sqlite(connection: object, _record: object) -> None:
    # The driver must not open transactions by itself; _begin_sqlite does. FULL, not NORMAL: an
    # acknowledged result must survive a power cut.
    connection.isolation_level = None  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]


def _begin_sqlite(connection: sqlalchemy.Connection) -> None:
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _migrate(session: Session, migrations: Sequence[Sequence[str]]) -> None:
    latest = len(migrations) + 1
    connection = session.connection()
    if not sqlalchemy.inspect(connection).has_table("schema_version"):
        SQLModel.metadata.create_all(connection, tables=_own_tables())
        session.add(tables.SchemaVersionRow(version=latest))
        return
    row = session.exec(select(tables.SchemaVersionRow)).one()
    if row.version > latest:
        raise WrongState(
            f"the database has schema version {row.version}, this program knows {latest}; "
            "update distillfarm on this machine"
        )
    for statements in migrations[row.version - 1 :]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    row.version = latest
    session.add(row)


def _own_tables() -> list[sqlalchemy.Table]:
    return [
        SQLModel.metadata.tables[name]
        for name in (
            "schema_version",
            "device",
            "job",
            "lease",
            "measurement",
            "study",
            "trial",
            "event",
            "credential",
            "felling",
        )
    ]
