"""The spool and the cache hold what they promise on disk."""

from pathlib import Path

import pytest

from distillfarm.agent.cache import BlobCache
from distillfarm.agent.spool import Spool
from distillfarm.domain.agent import JobResult
from distillfarm.domain.ids import digest_bytes
from distillfarm.domain.job import Lease
from distillfarm.wire import blobs


def result(job_id: str, token: int = 1) -> JobResult:
    return JobResult(Lease(job_id, "device-1", "agent-1", token, 0.0), error="gone")


def test_spool_gives_results_back_after_a_restart_and_forgets_half_written_ones(
    tmp_path: Path,
) -> None:
    Spool(tmp_path).put(result("job-1"))
    Spool(tmp_path).put(result("job-2"))
    (tmp_path / "torn.part").write_bytes(b'{"lease":')
    spool = Spool(tmp_path)
    assert spool.results() == [result("job-1"), result("job-2")]
    assert not (tmp_path / "torn.part").exists()
    spool.drop(result("job-1").lease)
    spool.drop(result("job-1").lease)
    assert spool.results() == [result("job-2")]


async def test_cache_throws_the_longest_unused_away_but_never_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {digest_bytes(data): data for data in (b"a" * 60, b"b" * 60, b"c" * 60)}
    fetched: list[str] = []

    async def download(_channel: object, digest: str, store: blobs.LocalBlobs, _where: str) -> None:
        if not store.has(digest):
            fetched.append(digest)
            store.put_bytes(contents[digest])

    monkeypatch.setattr("distillfarm.agent.cache.download_blob", download)
    cache = BlobCache(tmp_path, limit_bytes=100)
    first, second, third = contents
    paths = await cache.fetch(None, [first, second], "")  # type: ignore[arg-type]
    assert {digest: path.read_bytes() for digest, path in paths.items()} == {
        digest: contents[digest] for digest in (first, second)
    }
    await cache.fetch(None, [third], "")  # type: ignore[arg-type]
    await cache.fetch(None, [third], "")  # type: ignore[arg-type]
    await cache.fetch(None, [first], "")  # type: ignore[arg-type]
    assert fetched == [first, second, third, first]
