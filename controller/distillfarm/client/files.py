"""The calls that carry files."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from distillfarm.client.connection import Connection
from distillfarm.wire.blobs import LocalBlobs, download_blob, upload_blob
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1 import services_pb2_grpc as services


class FileCalls:
    """Files by their digests."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._blobs = services.BlobsStub(connection.channel)

    async def upload(self, path: Path) -> tuple[str, int]:
        """Send a file unless the controller has it; gives digest and bytes."""
        link = self._connection
        digest = await upload_blob(link.channel, path, link.address, link.call_patience_s)
        return digest, (await asyncio.to_thread(path.stat)).st_size

    async def download(self, digest: str, path: Path) -> None:
        """Fetch a file, verified, to ``path``, which appears when it is whole."""
        link = self._connection
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=path.parent) as folder:
            store = LocalBlobs(Path(folder))
            await download_blob(link.channel, digest, store, link.address, link.call_patience_s)
            store.path(digest).chmod(0o644)
            store.path(digest).replace(path)

    async def size_of(self, digest: str) -> int | None:
        """The bytes of a file that the controller has whole; None where it has not."""
        request = pb.StatBlobRequest(digest=digest)
        stat = await self._connection.reply(self._blobs.StatBlob, request)
        return stat.size_bytes if stat.complete else None
