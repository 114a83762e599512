"""Blobs in an object store behave like those in a folder, with a cache in front."""

import sys
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from distillfarm.domain.errors import (
    DigestMismatch,
    InvalidRequest,
    MissingExtra,
    NotFound,
    Unavailable,
)
from distillfarm.domain.ids import digest_bytes
from distillfarm.wire.blobs import LocalBlobs, RemoteBlobs, open_blobs
from distillfarm.wire.blobs.objects import ObjectBlobs

DATA = bytes(range(256)) * 400
DIGEST = digest_bytes(DATA)
KEY = f"sha256/{DIGEST[7:9]}/{DIGEST[7:]}"


@pytest.fixture(params=["memory", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "s3", mkdir=True)


@pytest.fixture
def on_machine(objects: ObjectStore, tmp_path: Path) -> Callable[[str], ObjectBlobs]:
    """The store as one machine sees it, through a cache of its own."""
    return lambda name: ObjectBlobs(objects, LocalBlobs(tmp_path / name))


def test_what_one_machine_stores_another_reads(
    on_machine: Callable[[str], ObjectBlobs], tmp_path: Path
) -> None:
    source = tmp_path / "model"
    source.write_bytes(DATA)
    here, there = on_machine("here"), on_machine("there")
    assert not there.has(DIGEST)
    assert here.put_file(source, move=True) == DIGEST
    assert not source.exists()
    assert there.has(DIGEST)
    assert there.size(DIGEST) == len(DATA)
    assert there.stat(DIGEST) == (len(DATA), len(DATA))
    assert there.path(DIGEST).read_bytes() == DATA
    assert here.put_bytes(DATA) == DIGEST


def test_a_cache_fetches_once(
    on_machine: Callable[[str], ObjectBlobs], objects: ObjectStore
) -> None:
    on_machine("here").put_bytes(DATA)
    there = on_machine("there")
    there.path(DIGEST)
    obstore.delete(objects, KEY)
    assert there.path(DIGEST).read_bytes() == DATA


def test_an_empty_blob_is_a_blob(on_machine: Callable[[str], ObjectBlobs]) -> None:
    digest = on_machine("here").put_bytes(b"")
    assert on_machine("there").path(digest).read_bytes() == b""


def test_pieces_resume_and_appear_only_when_whole(
    on_machine: Callable[[str], ObjectBlobs],
) -> None:
    blobs = on_machine("here")
    blobs.append(DIGEST, len(DATA), 0, DATA[:1000])
    assert blobs.stat(DIGEST) == (len(DATA), 1000)
    assert not blobs.has(DIGEST)
    blobs.append(DIGEST, len(DATA), 1000, DATA[1000:])
    assert on_machine("there").path(DIGEST).read_bytes() == DATA


def test_wrong_bytes_never_reach_the_object_store(
    on_machine: Callable[[str], ObjectBlobs],
) -> None:
    with pytest.raises(DigestMismatch):
        on_machine("here").append(DIGEST, 3, 0, b"abc")
    assert not on_machine("there").has(DIGEST)


def test_a_spoilt_object_is_not_believed(
    on_machine: Callable[[str], ObjectBlobs], objects: ObjectStore
) -> None:
    obstore.put(objects, KEY, DATA[:-1] + b"?")
    with pytest.raises(DigestMismatch):
        on_machine("here").path(DIGEST)


def test_a_blob_that_was_complete_but_not_put_is_put(
    on_machine: Callable[[str], ObjectBlobs], tmp_path: Path
) -> None:
    LocalBlobs(tmp_path / "here").put_bytes(DATA)
    here = on_machine("here")
    assert not here.has(DIGEST)
    assert here.stat(DIGEST) == (len(DATA), len(DATA))
    assert on_machine("there").has(DIGEST)


def test_an_unknown_blob_is_not_found(on_machine: Callable[[str], ObjectBlobs]) -> None:
    blobs = on_machine("here")
    assert blobs.stat(DIGEST) == (0, 0)
    for call in (blobs.size, blobs.path):
        with pytest.raises(NotFound, match=DIGEST):
            call(DIGEST)


@pytest.mark.parametrize("digest", ["", "sha256:../../x", "/etc/passwd", "sha256:" + "*" * 64])
def test_a_hostile_digest_is_refused(on_machine: Callable[[str], ObjectBlobs], digest: str) -> None:
    blobs = on_machine("here")
    for call in (blobs.has, blobs.size, blobs.path, blobs.stat):
        with pytest.raises(InvalidRequest, match="is no digest"):
            call(digest)
    with pytest.raises(InvalidRequest, match="is no digest"):
        blobs.append(digest, 3, 0, b"abc")


def test_a_store_out_of_reach_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    store = S3Store("lab", retry_config={"max_retries": 0})
    with pytest.raises(Unavailable, match="object store"):
        ObjectBlobs(store, LocalBlobs(tmp_path)).has(DIGEST)


def test_a_url_says_which_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    assert isinstance(open_blobs(str(tmp_path / "a"), cache), LocalBlobs)
    assert isinstance(open_blobs(f"file://{tmp_path}/b", cache), LocalBlobs)
    assert (tmp_path / "b" / "sha256").is_dir()
    assert isinstance(open_blobs("s3://lab/models", cache), ObjectBlobs)
    remote = open_blobs("grpc://127.0.0.1:1", cache)
    assert isinstance(remote, RemoteBlobs)
    remote.close()
    for url in ("ftp://x/y", "grpc://nonsense", "s3://"):
        with pytest.raises(InvalidRequest):
            open_blobs(url, cache)


def test_a_missing_extra_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(MissingExtra, match=r"pip install 'distillfarm\[s3\]'"):
        open_blobs("s3://lab/models", tmp_path)
