"""Artifacts kept on the agent for the next job, the longest unused thrown away first."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import grpc

from distillfarm.wire.blobs import LocalBlobs, download_blob


class BlobCache:
    """Blobs by digest in a folder of at most ``limit_bytes``, but what one job needs always fits.

    Not for use by two processes at once.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._store = LocalBlobs(folder)

    async def fetch(
        self, channel: grpc.aio.Channel, digests: Sequence[str], address: str
    ) -> dict[str, Path]:
        """Local paths of ``digests``, fetched where they are missing.

        Raises:
            NotFound: the controller does not have one of them.
            NoCapacity: the disk is full.
        """
        for digest in digests:
            await download_blob(channel, digest, self._store, address)
        paths = {digest: self._store.path(digest) for digest in digests}
        await asyncio.to_thread(self._evict, frozenset(paths.values()))
        return paths

    def _evict(self, needed: frozenset[Path]) -> None:
        for path in needed:
            path.touch()
        kept = sorted(
            (path for path in self._folder.glob("sha256/*/*") if path.is_file()),
            key=lambda path: path.stat().st_mtime_ns,
            reverse=True,
        )
        taken = 0
        for path in kept:
            taken += path.stat().st_size
            if taken > self._limit_bytes and path not in needed:
                path.unlink()
