"""Databases are opened, migrated forward, and survive processes and threads."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import farm_samples as samples
import pytest

from distillfarm.controller.store.database import Database
from distillfarm.controller.store.sql import SqlStore
from distillfarm.domain.errors import InvalidRequest, WrongState


def test_a_database_outlives_its_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'farm.db'}"
    first = SqlStore(url)
    job = first.submit(samples.request(), 1)
    first.close()
    assert SqlStore(url).job(job.job_id) == job


def test_an_old_database_is_led_forward_once(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    SqlStore(f"sqlite:///{path}").close()
    for _ in range(2):
        Database(f"sqlite:///{path}", [["ALTER TABLE job ADD COLUMN colour TEXT"]]).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (2,)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(job)")]
    assert columns.count("colour") == 1


def test_a_migration_that_fails_leaves_the_old_version(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    SqlStore(f"sqlite:///{path}").close()
    with pytest.raises(Exception, match="no such table"):
        Database(f"sqlite:///{path}", [["CREATE TABLE extra (x)", "ALTER TABLE none RENAME TO y"]])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (1,)
        found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'extra'")
        assert found.fetchone() is None


def test_a_newer_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    Database(f"sqlite:///{path}", [["SELECT 1"]]).close()
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
