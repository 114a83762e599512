"""Databases are opened, migrated forward, and survive processes and threads."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import farm_samples as samples
import msgspec
import pytest

from distillfarm.controller.store.database import MIGRATIONS, Database
from distillfarm.controller.store.sql import SqlStore
from distillfarm.domain.errors import InvalidRequest, WrongState
from distillfarm.domain.hardware import DeviceStatus

# What the first version made, with a device of its own.
FIRST_VERSION = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
INSERT INTO schema_version VALUES (1);
CREATE TABLE device (
  device_id VARCHAR NOT NULL, agent_id VARCHAR NOT NULL, online BOOLEAN NOT NULL,
  offline_note VARCHAR NOT NULL, drained BOOLEAN NOT NULL, drain_note VARCHAR NOT NULL,
  last_seen_s FLOAT NOT NULL, last_token INTEGER NOT NULL, labels VARCHAR NOT NULL,
  info VARCHAR NOT NULL, PRIMARY KEY (device_id));
CREATE TABLE job (
  sequence INTEGER NOT NULL, job_id VARCHAR NOT NULL, study_id VARCHAR NOT NULL,
  state VARCHAR NOT NULL, submitted_at_s FLOAT NOT NULL, attempts INTEGER NOT NULL,
  device_id VARCHAR NOT NULL, measurement_id VARCHAR NOT NULL, error VARCHAR NOT NULL,
  request VARCHAR NOT NULL, PRIMARY KEY (sequence), UNIQUE (job_id));
CREATE TABLE lease (
  device_id VARCHAR NOT NULL, token INTEGER NOT NULL, job_id VARCHAR NOT NULL,
  agent_id VARCHAR NOT NULL, expires_at_s FLOAT NOT NULL, "end" VARCHAR NOT NULL,
  result VARCHAR NOT NULL, PRIMARY KEY (device_id, token));
CREATE TABLE measurement (
  measurement_id VARCHAR NOT NULL, job_id VARCHAR NOT NULL, device_id VARCHAR NOT NULL,
  artifact_digest VARCHAR NOT NULL, study_id VARCHAR NOT NULL, started_at_s FLOAT NOT NULL,
  record VARCHAR NOT NULL, PRIMARY KEY (measurement_id), UNIQUE (job_id));
CREATE TABLE study (study_id VARCHAR NOT NULL, state VARCHAR NOT NULL,
  created_at_s FLOAT NOT NULL, record VARCHAR NOT NULL, PRIMARY KEY (study_id));
CREATE TABLE trial (sequence INTEGER NOT NULL, trial_id VARCHAR NOT NULL,
  study_id VARCHAR NOT NULL, record VARCHAR NOT NULL, PRIMARY KEY (sequence), UNIQUE (trial_id));
CREATE TABLE event (study_id VARCHAR NOT NULL, sequence INTEGER NOT NULL,
  record VARCHAR NOT NULL, PRIMARY KEY (study_id, sequence));
CREATE TABLE credential (secret_digest VARCHAR NOT NULL, subject VARCHAR NOT NULL,
  role VARCHAR NOT NULL, created_at_s FLOAT NOT NULL, PRIMARY KEY (secret_digest));
"""
FIRST_DEVICE = "INSERT INTO device VALUES ('device-1', 'one', 1, '', 0, '', 1.0, 0, ?, ?)"


def test_a_database_outlives_its_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'farm.db'}"
    first = SqlStore(url)
    job = first.submit(samples.request(), 1)
    first.close()
    assert SqlStore(url).job(job.job_id) == job


def test_an_old_database_is_led_forward_once(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    Database(f"sqlite:///{path}", ()).close()
    for _ in range(2):
        Database(f"sqlite:///{path}", [["ALTER TABLE job ADD COLUMN colour TEXT"]]).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (2,)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(job)")]
    assert columns.count("colour") == 1


def test_a_database_of_the_first_version_keeps_its_devices(tmp_path: Path) -> None:
    path, fresh = tmp_path / "old.db", tmp_path / "new.db"
    SqlStore(f"sqlite:///{fresh}").close()
    with sqlite3.connect(path) as connection:
        connection.executescript(FIRST_VERSION)
        info = msgspec.json.encode(samples.device_info()).decode()
        connection.execute(FIRST_DEVICE, ('["desk-3"]', info))
    store = SqlStore(f"sqlite:///{path}")
    (device,) = store.devices()
    assert (device.info, device.labels) == (samples.device_info(), ("desk-3",))
    assert (device.name, device.status) == ("", DeviceStatus.IDLE)
    assert store.set_name(device.device_id, "left").name == "left"
    store.close()
    assert columns(path) == columns(fresh)


def columns(path: Path) -> dict[str, set[str]]:
    """The columns of every table."""
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
            for (name,) in names.fetchall()
        }


def test_a_migration_that_fails_leaves_the_old_version(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    Database(f"sqlite:///{path}", ()).close()
    with pytest.raises(Exception, match="no such table"):
        Database(f"sqlite:///{path}", [["CREATE TABLE extra (x)", "ALTER TABLE none RENAME TO y"]])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (1,)
        found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'extra'")
        assert found.fetchone() is None


def test_a_newer_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    Database(f"sqlite:///{path}", [*MIGRATIONS, ["SELECT 1"]]).close()
    with pytest.raises(WrongState, match="update distillfarm"):
        SqlStore(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/db", "sqlite://"])
def test_a_url_of_no_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="database URL"):
        SqlStore(url)


def test_two_stores_on_one_file_and_many_threads_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'farm.db'}"
    stores = [SqlStore(url), SqlStore(url)]
    stores[0].create_study("study-1", samples.study_spec(), 0)

    def add(number: int) -> None:
        stores[number % 2].add_event("study-1", "measure", str(number), 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(80)))
    events = stores[0].events("study-1")
    assert [each.sequence for each in events] == list(range(1, 81))
    assert {each.text for each in events} == set(map(str, range(80)))
