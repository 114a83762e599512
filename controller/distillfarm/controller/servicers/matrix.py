"""The Matrix service."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from distillfarm.controller.matrix import cells
from distillfarm.controller.store.protocol import Store
from distillfarm.wire.convert import to_message
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1 import study_pb2
from distillfarm.wire.v1.services_pb2_grpc import MatrixServicer


class Matrix(MatrixServicer):
    """See services.proto."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def QueryMatrix(
        self, request: pb.QueryMatrixRequest, context: Any
    ) -> AsyncIterator[study_pb2.MatrixCell]:
        filters = request.study_id, request.chipset, request.model_name
        for cell in await asyncio.to_thread(cells, self._store, *filters):
            yield to_message(cell, study_pb2.MatrixCell)
