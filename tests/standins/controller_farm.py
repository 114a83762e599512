"""A controller served over real gRPC, its studies run by a stand-in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc

from distillfarm.controller.dispatch import Dispatcher
from distillfarm.controller.server import serve
from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.study import StudyState
from distillfarm.wire.blobs import BlobStore
from distillfarm.wire.transport import PLAINTEXT, ClientSecurity, create_channel


class StandInRunner:
    """Starts studies by saying so; a study ends when it is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[str] = []

    def launch(self) -> None:
        self.calls.append("launch")

    def start(self, study_id: str) -> None:
        self.calls.append(f"start {study_id}")
        self._store.add_event(study_id, "ingest", "begun", 1.0)

    def cancel(self, study_id: str) -> None:
        study = self._store.study(study_id)
        self._store.put_study(replace(study, state=StudyState.CANCELLED))

    def shutdown(self) -> None:
        self.calls.append("shutdown")


@dataclass
class Farm:
    """A running controller, seen from outside and from inside."""

    address: str
    channel: grpc.aio.Channel
    store: Store
    blobs: BlobStore
    dispatcher: Dispatcher
    runner: StandInRunner
    settings: ControllerSettings


FarmFactory = Callable[..., AbstractAsyncContextManager[Farm]]


@asynccontextmanager
async def running_farm(
    settings: ControllerSettings, security: ClientSecurity = PLAINTEXT
) -> AsyncIterator[Farm]:
    """A controller in this event loop, until the context is left."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    inside: list[tuple[Store, BlobStore, Dispatcher, StandInRunner]] = []

    def make_runner(
        store: Store, blobs: BlobStore, dispatcher: Dispatcher, _settings: ControllerSettings
    ) -> StandInRunner:
        inside.append((store, blobs, dispatcher, StandInRunner(store)))
        return inside[0][-1]

    task = asyncio.create_task(
        serve(settings, stop=stop, ready=address.set_result, make_runner=make_runner)
    )
    both: list[asyncio.Future[Any]] = [task, address]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    channel = create_channel(address.result(), security)
    try:
        yield Farm(address.result(), channel, *inside[0], settings)
    finally:
        await channel.close(None)
        stop.set()
        await task
