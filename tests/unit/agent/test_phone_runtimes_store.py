"""The folder of runtimes: whole entries, the newest first, nothing spoiled goes to a phone."""

import errno
import multiprocessing
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from distillfarm.agent.phone_runtimes import Flavour, PhoneRuntime, RuntimeStore, records
from distillfarm.agent.phone_runtimes.records import KeptFile, Origin, Record
from distillfarm.agent.settings import AgentSettings
from distillfarm.domain.errors import (
    AlreadyExists,
    DigestMismatch,
    NoCapacity,
    NotFound,
    WrongState,
)

NAME, FLAVOUR = "onnxruntime", Flavour.BIONIC_AARCH64


@pytest.fixture
def store(tmp_path: Path) -> RuntimeStore:
    return RuntimeStore(tmp_path / "runtimes")


def staged(scratch: Path, version: str, content: bytes) -> tuple[Record, Path]:
    folder = scratch / "entry"
    folder.mkdir()
    library, licence = folder / "libonnxruntime.so", folder / "LICENSE"
    library.write_bytes(content)
    licence.write_text("MIT")
    origin = Origin("made by a test", "0" * 64)
    files, licences = (records.kept(library),), (records.kept(licence),)
    made = datetime(2026, 1, 2, tzinfo=UTC)
    return Record(NAME, FLAVOUR, version, origin, made, files, licences), folder


def put(store: RuntimeStore, version: str = "1.29.0", content: bytes = b"library") -> PhoneRuntime:
    with store.writing() as scratch:
        return store.put(*staged(scratch, version, content))


def test_nothing_is_found_in_an_empty_store(store: RuntimeStore) -> None:
    assert store.find(NAME, FLAVOUR) is None
    assert store.entries() == ()
    assert list(store.spoiled()) == []


def test_the_newest_version_is_found_and_any_by_its_name(store: RuntimeStore) -> None:
    for version in ("1.9.0", "1.30.0rc1", "1.29.0"):
        put(store, version, version.encode())
    for asked, version in (("", "1.30.0rc1"), ("1.9.0", "1.9.0"), ("1.9", "1.9.0")):
        found = store.find(NAME, FLAVOUR, asked)
        assert found is not None
        assert found.record.version == version
    assert store.find(NAME, FLAVOUR, "1.10") is None
    put(store, "1.30.0")
    newest = store.find(NAME, FLAVOUR)
    assert newest is not None
    assert newest.record.version == "1.30.0"
    assert store.find(NAME, Flavour.GLIBC_AARCH64) is None


def test_an_entry_is_read_back_as_it_was_recorded(store: RuntimeStore) -> None:
    kept = put(store)
    assert store.find(NAME, FLAVOUR) == kept
    assert kept.main.read_bytes() == b"library"
    assert os.access(kept.main, os.X_OK)
    assert not kept.main.stat().st_mode & 0o222
    assert kept.folder == store.folder / NAME / "bionic-aarch64" / "1.29.0"


@pytest.mark.parametrize("name", ["libonnxruntime.so", "LICENSE"])
def test_a_changed_file_is_refused_with_its_name_and_the_remedy(
    store: RuntimeStore, name: str
) -> None:
    kept = put(store)
    assert store.find(NAME, FLAVOUR), "read once, so that it is known"
    path = kept.folder / name
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DigestMismatch, match=rf"{name} is not what was kept.*remove onnxruntime"):
        store.find(NAME, FLAVOUR)
    assert len(list(store.spoiled())) == 1


def test_a_file_that_nothing_touched_is_not_read_again(
    store: RuntimeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store)
    store.find(NAME, FLAVOUR)
    read: list[Path] = []
    kept = records.kept

    def counted(path: Path) -> KeptFile:
        read.append(path)
        return kept(path)

    monkeypatch.setattr(records, "kept", counted)
    store.find(NAME, FLAVOUR)
    assert read == []
    list(store.spoiled())
    assert len(read) == 2, "a verification reads everything"


def test_a_missing_file_and_a_broken_manifest_are_each_named(store: RuntimeStore) -> None:
    (put(store, "1.0").folder / "libonnxruntime.so").unlink()
    manifest = put(store, "2.0").folder / records.MANIFEST
    manifest.chmod(0o644)
    manifest.write_text('{"name": ')
    put(store, "3.0")
    missing, broken = store.spoiled()
    assert "1.0/libonnxruntime.so cannot be read" in missing
    assert "2.0/manifest.json cannot be read" in broken
    with pytest.raises(DigestMismatch, match="--version 2"):
        store.entries()
    store.remove(NAME, FLAVOUR, "2.0")
    assert len(store.entries()) == 2


def test_a_manifest_cannot_name_files_elsewhere(store: RuntimeStore, tmp_path: Path) -> None:
    kept = put(store)
    secret = tmp_path / "secret"
    secret.write_bytes(b"library")
    manifest = kept.folder / records.MANIFEST
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace("libonnxruntime.so", "../../../../secret"))
    with pytest.raises(DigestMismatch, match="elsewhere"):
        store.find(NAME, FLAVOUR)


def test_what_broke_off_is_never_seen_and_is_cleared_away(store: RuntimeStore) -> None:
    def interrupted() -> None:
        with store.writing() as scratch:
            staged(scratch, "1.29.0", b"half")
            os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=interrupted)
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert [path.name[:6] for path in store.folder.iterdir() if path.is_dir()] == [".part-"]
    assert store.entries() == ()
    put(store)
    assert {path.name for path in store.folder.iterdir()} == {NAME, ".lock"}


def test_a_failed_command_leaves_nothing(store: RuntimeStore) -> None:
    def failing() -> None:
        with store.writing() as scratch:
            staged(scratch, "1.29.0", b"half")
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        failing()
    assert {path.name for path in store.folder.iterdir()} == {".lock"}


def test_a_full_disk_is_told_as_such(store: RuntimeStore) -> None:
    with pytest.raises(NoCapacity, match="make room"), store.writing():
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_was_spoiled_may_be_replaced_and_what_is_the_same_stays(store: RuntimeStore) -> None:
    kept = put(store)
    with store.writing() as scratch:
        record, folder = staged(scratch, "1.29.0", b"library")
        assert store.put(replace(record, kept_at=datetime.now(UTC)), folder, replace=True) == kept
    kept.main.chmod(0o755)
    kept.main.write_bytes(b"spoiled")
    with pytest.raises(AlreadyExists):
        put(store)
    with store.writing() as scratch:
        store.put(*staged(scratch, "1.29.0", b"library"), replace=True)
    assert list(store.spoiled()) == []


def test_two_commands_do_not_write_at_once(store: RuntimeStore) -> None:
    with store.writing(), pytest.raises(WrongState, match="wait for it"):
        put(RuntimeStore(store.folder))


def test_a_version_is_removed_alone(store: RuntimeStore) -> None:
    put(store, "1.0")
    put(store, "2.0")
    store.remove(NAME, FLAVOUR, "2.0")
    assert store.versions(NAME, FLAVOUR) == ("1.0",)
    with pytest.raises(NotFound):
        store.remove(NAME, FLAVOUR, "2.0")


def test_the_folder_may_be_moved(store: RuntimeStore, tmp_path: Path) -> None:
    put(store)
    shutil.move(store.folder, tmp_path / "elsewhere")
    moved = RuntimeStore(tmp_path / "elsewhere").find(NAME, FLAVOUR)
    assert moved is not None
    assert moved.main.read_bytes() == b"library"


def test_agents_have_a_folder_each_unless_they_share_one(tmp_path: Path) -> None:
    own = AgentSettings(state_dir=tmp_path)
    assert own.runtimes == tmp_path / "agent" / "runtimes"
    shared = AgentSettings(state_dir=tmp_path, runtimes_dir=tmp_path / "shared")
    assert shared.runtimes == tmp_path / "shared"
