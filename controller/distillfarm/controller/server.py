"""Puts a controller together, serves, and takes it apart again."""

import asyncio
import fcntl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health  # type: ignore[attr-defined]
from grpc_reflection.v1alpha import reflection

from distillfarm.controller.dispatch import Dispatcher
from distillfarm.controller.enrolment import Gatekeeper, check_exposure
from distillfarm.controller.fleet import Fleet
from distillfarm.controller.metrics import FarmMetrics
from distillfarm.controller.pages import serve_pages
from distillfarm.controller.servicers.services import add_services
from distillfarm.controller.settings import ControllerSettings
from distillfarm.controller.store.protocol import Store
from distillfarm.controller.store.sql import SqlStore
from distillfarm.controller.studies import Studies, StudyRunner
from distillfarm.controller.web.app import create_app
from distillfarm.domain.errors import WrongState
from distillfarm.wire.blobs import BlobStore, open_blobs
from distillfarm.wire.transport import ServerSecurity, create_server

RunnerFactory = Callable[[Store, BlobStore, Dispatcher, ControllerSettings], StudyRunner]

_ENROL = "/distillfarm.v1.Enrolment/Enrol"
_HEALTH = "/grpc.health.v1.Health/"

_log = structlog.get_logger(__name__)


def durable_studies(
    store: Store, blobs: BlobStore, dispatcher: Dispatcher, settings: ControllerSettings
) -> StudyRunner:
    """Studies as durable workflows."""
    from distillfarm.controller.study_runner import DurableStudies  # noqa: PLC0415 - loads DBOS

    return DurableStudies(store, blobs, dispatcher, settings)


async def serve(
    settings: ControllerSettings,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    make_runner: RunnerFactory = durable_studies,
) -> None:
    """Serve until ``stop`` is set; ``ready`` gets the gRPC address once everything answers.

    Raises:
        InvalidRequest: settings that cannot work.
        WrongState: an address or the state folder is taken by another controller.
    """
    check_exposure(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(_alone(settings.state_dir))
        store = SqlStore(settings.database)
        stack.callback(store.close)
        blobs = open_blobs(settings.blobs, settings.state_dir / "blob-cache")
        metrics = FarmMetrics()
        fleet = Fleet(store, settings, metrics)
        store.on_study_change = fleet.changes.tell_from_thread
        stack.push_async_callback(fleet.close)
        await fleet.start()
        dispatcher = Dispatcher(fleet, asyncio.get_running_loop())
        stack.callback(dispatcher.close)
        runner = make_runner(store, blobs, dispatcher, settings)
        stack.push_async_callback(asyncio.to_thread, runner.shutdown)
        await asyncio.to_thread(runner.launch)
        gatekeeper = Gatekeeper(store, settings, time.time)
        authenticate = gatekeeper.authenticate if gatekeeper.asks else None
        server, address = create_server(
            settings.listen,
            ServerSecurity(settings.tls_certificate, settings.tls_key, settings.tls_client_ca),
            authenticate=authenticate,
            open_methods=(_ENROL, _HEALTH),
        )
        studies = Studies(store, runner, fleet.changes)
        names = add_services(
            server, fleet=fleet, store=store, blobs=blobs, studies=studies, gatekeeper=gatekeeper
        )
        await stack.enter_async_context(_answering(server, names, fleet, settings.grace_s))
        if settings.web_listen:
            app = create_app(
                store,
                blobs,
                authenticate=authenticate,
                metrics=metrics.app(),
                vitals=fleet.vitals,
            )
            pages = serve_pages(app, settings)
            _log.info("web pages", address=await stack.enter_async_context(pages))
        _log.info("controller serves", address=address, asks_credentials=gatekeeper.asks)
        ready(address)
        await stop.wait()
        _log.info("controller stops")


@asynccontextmanager
async def _answering(
    server: grpc.aio.Server, names: list[str], fleet: Fleet, grace_s: float
) -> AsyncIterator[None]:
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    reflection.enable_server_reflection([*names, HEALTH, reflection.SERVICE_NAME], server)
    for name in ("", *names):
        await state.set(name, health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    try:
        yield
    finally:
        await state.enter_graceful_shutdown()
        fleet.hang_up()
        await server.stop(grace_s)


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Hold the state folder: two controllers on one database would grant the same devices."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "controller.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WrongState(
                f"another controller works in {state_dir}; stop it, or choose another state_dir"
            ) from error
        yield
