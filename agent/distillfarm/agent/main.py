"""Runs one agent: its inventory, its jobs and its session, until told to stop."""

import asyncio
import contextlib
import fcntl
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import grpc
import structlog

from distillfarm.agent import enrolment, plugins
from distillfarm.agent.cache import BlobCache
from distillfarm.agent.execution import run_job
from distillfarm.agent.inventory import Inventory, Probed
from distillfarm.agent.jobs import Jobs
from distillfarm.agent.session import Session
from distillfarm.agent.settings import AgentSettings
from distillfarm.agent.spool import Spool
from distillfarm.domain.agent import Assign
from distillfarm.domain.errors import AlreadyExists, DeviceOffline, Unauthenticated, Unavailable
from distillfarm.domain.ids import derived_id
from distillfarm.domain.measurement import Measurement
from distillfarm.wire.transport import create_channel

_ENROL_AGAIN_S = 2.0

_log = structlog.get_logger(__name__)


async def run(settings: AgentSettings, *, stop: asyncio.Event) -> None:
    """Serve the controller until ``stop`` is set; what runs then is stopped and not counted.

    Raises:
        AlreadyExists: another agent uses this ``state_dir``.
        Unauthenticated: the controller refuses the token.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    with _only_process(settings.folder / "lock"):
        serving = asyncio.create_task(_serve(settings))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
        finally:
            for task in (serving, stopping):
                task.cancel()
            await asyncio.wait([serving, stopping])


async def _serve(settings: AgentSettings) -> None:
    while True:
        credential = await _credential(settings)
        try:
            async with create_channel(
                settings.controller, settings.security(credential)
            ) as channel:
                await _work(settings, channel)
        except Unauthenticated:
            # The controller lost its memory of us; a token, if there is one, makes us known again.
            if not (credential and settings.token):
                raise
            enrolment.forget(settings)


async def _credential(settings: AgentSettings) -> str:
    while True:
        try:
            return await enrolment.credential(settings)
        except Unavailable as error:
            _log.warning("cannot enrol yet", why=str(error))
            await asyncio.sleep(_ENROL_AGAIN_S)


async def _work(settings: AgentSettings, channel: grpc.aio.Channel) -> None:
    inventory = Inventory(plugins.device_sources(settings))
    session = Session(
        channel,
        settings.controller,
        settings.agent_id,
        version("distillfarm"),
        devices=inventory.devices,
    )
    cache = BlobCache(settings.folder / "cache", settings.cache_bytes)

    async def execute(assign: Assign, report: Callable[[str, float], None]) -> Measurement:
        request = assign.request
        probed = _find(inventory, settings.agent_id, assign.lease.device_id)
        runners = [plugins.runner(each.target.runtime, each.spec.tool) for each in request.sides]
        report("fetching the artifact", 0.0)
        files = await cache.fetch(channel, request.digests, settings.controller)
        return await run_job(probed, runners[0], assign, files, report, rival=runners[-1])

    jobs = Jobs(execute, Spool(settings.folder / "spool"), session.send)
    watching = asyncio.create_task(inventory.watch(session.devices_changed, session.send))
    talking = asyncio.create_task(session.run(jobs))
    try:
        done, _ = await asyncio.wait([watching, talking], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in (watching, talking):
            task.cancel()
        await asyncio.wait([watching, talking])
        await jobs.close()


def _find(inventory: Inventory, agent_id: str, device_id: str) -> Probed:
    for info in inventory.devices():
        if derived_id("device", agent_id, info.serial) == device_id:
            return inventory.device(info.serial)
    raise DeviceOffline(f"{device_id} is not attached to agent {agent_id}; plug it in again")


@contextlib.contextmanager
def _only_process(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyExists(
                f"another agent uses {path.parent}; stop it or choose another --state-dir"
            ) from error
        yield
