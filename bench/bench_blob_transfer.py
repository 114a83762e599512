"""How fast a file is uploaded, verified and on disk, against hashing its bytes once.

The peer, interleaved in the same run, is plain SHA-256 over the same file. An upload hashes the
file here to name it, sends it over gRPC on the loopback interface to a Blobs service in the same
process, which writes it, hashes what it wrote, and syncs. Two times hashing make 0.5 the highest
ratio there could be; client and server share one interpreter besides. Ends with 1 below the limit.
"""

import argparse
import asyncio
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from distillfarm.wire.blobs import BlobStore, LocalBlobs, service, upload_blob
from distillfarm.wire.transport import create_channel, create_server
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import BlobsServicer, add_BlobsServicer_to_server


class Blobs(BlobsServicer):
    """The service as the controller has it."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def StatBlob(  # noqa: N802
        self,
        request: pb.StatBlobRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.BlobStat:
        """Answer how much is here."""
        return await service.stat(self._store, request)

    async def UploadBlob(  # noqa: N802
        self,
        request_iterator: AsyncIterator[pb.BlobChunk],
        context: Any,  # noqa: ARG002
    ) -> pb.BlobStat:
        """Take an upload."""
        return await service.receive(self._store, request_iterator)

    async def DownloadBlob(  # noqa: N802
        self,
        request: pb.DownloadBlobRequest,
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[pb.BlobChunk]:
        """Send a blob."""
        async for chunk in service.send(self._store, request):
            yield chunk


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--min-ratio", type=float, default=0.05, help="of the median speeds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.write_bytes(os.urandom(options.megabytes * 10**6))
        hashing_s, uploading_s = [], []
        for _ in range(options.rounds):
            hashing_s.append(hash_once(source))
            uploading_s.append(asyncio.run(upload_once(source, folder / "store")))
            shutil.rmtree(folder / "store")
            os.sync()
    ratio = statistics.median(hashing_s) / statistics.median(uploading_s)
    print(f"{options.megabytes} MB, {options.rounds} rounds, median [slowest, fastest]")
    print(f"hashing    {speeds(options.megabytes, hashing_s)}")
    print(f"uploading  {speeds(options.megabytes, uploading_s)}")
    print(f"ratio      {ratio:.3f}, limit {options.min_ratio:g}")
    return 0 if ratio >= options.min_ratio else 1


def hash_once(source: Path) -> float:
    """Seconds for the peer."""
    started = time.perf_counter()
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    return time.perf_counter() - started


async def upload_once(source: Path, folder: Path) -> float:
    """Seconds for an upload into an empty store."""
    store = LocalBlobs(folder)
    server, address = create_server("127.0.0.1:0")
    add_BlobsServicer_to_server(Blobs(store), server)
    await server.start()
    try:
        async with create_channel(address) as channel:
            await channel.channel_ready()
            started = time.perf_counter()
            digest = await upload_blob(channel, source, address)
            taken_s = time.perf_counter() - started
    finally:
        await server.stop(0)
    assert store.has(digest)
    return taken_s


def speeds(megabytes: int, seconds: list[float]) -> str:
    """Megabytes a second."""
    median, slowest, fastest = statistics.median(seconds), max(seconds), min(seconds)
    return f"{megabytes / median:6.0f} [{megabytes / slowest:.0f}, {megabytes / fastest:.0f}] MB/s"


if __name__ == "__main__":
    sys.exit(main())
