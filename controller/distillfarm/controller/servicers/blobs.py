"""The Blobs service."""

from collections.abc import AsyncIterator
from typing import Any

from distillfarm.wire.blobs import BlobStore, service
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import BlobsServicer


class Blobs(BlobsServicer):
    """See services.proto."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def StatBlob(self, request: pb.StatBlobRequest, context: Any) -> pb.BlobStat:
        return await service.stat(self._blobs, request)

    async def UploadBlob(
        self, request_iterator: AsyncIterator[pb.BlobChunk], context: Any
    ) -> pb.BlobStat:
        return await service.receive(self._blobs, request_iterator)

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, context: Any
    ) -> AsyncIterator[pb.BlobChunk]:
        async for chunk in service.send(self._blobs, request):
            yield chunk
