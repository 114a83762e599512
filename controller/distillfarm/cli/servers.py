"""The commands that run one part of the farm each: controller, agent, worker."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
import typer

from distillfarm.cli import lifeline
from distillfarm.cli.console import say
from distillfarm.cli.failures import extra
from distillfarm.cli.options import DEFAULT_STATE_DIR, StateDirOption
from distillfarm.domain.errors import InvalidRequest
from distillfarm.files import whole

Settings = TypeVar("Settings")

_File = Annotated[Path | None, typer.Option()]
_Number = Annotated[float | None, typer.Option()]
_Count = Annotated[int | None, typer.Option()]
"""Options without a default here: the settings class and its environment variables decide."""
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")]


def controller(
    *,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    listen: Annotated[str | None, typer.Option(help="Address for gRPC; port 0 picks one.")] = None,
    web_listen: Annotated[str | None, typer.Option(help='Address of the pages; "" is off.')] = None,
    database_url: Annotated[str | None, typer.Option(help="SQLite or PostgreSQL URL.")] = None,
    workflow_database_url: Annotated[str | None, typer.Option(help="The same, for DBOS.")] = None,
    blobs_url: Annotated[str | None, typer.Option(help="A folder or s3://bucket.")] = None,
    heartbeat_s: _Number = None,
    lease_s: _Number = None,
    tls_certificate: _File = None,
    tls_key: _File = None,
    tls_client_ca: _File = None,
    enrolment_token: Annotated[
        str | None, typer.Option(help="Ask agents, workers and users for credentials.")
    ] = None,
    user_token: Annotated[
        str | None, typer.Option(help="What people send; else the enrolment token.")
    ] = None,
    address_file: Annotated[
        Path | None, typer.Option(help="Write the address here once it serves.")
    ] = None,
    verbose: _Verbose = False,
) -> None:
    """Keep the lab's state, schedule jobs, run studies."""
    log_to_stderr(verbose)
    with extra("controller"):
        from distillfarm.controller.server import serve  # noqa: PLC0415
        from distillfarm.controller.settings import ControllerSettings  # noqa: PLC0415
    settings = configure(
        ControllerSettings,
        state_dir=state_dir,
        listen=listen,
        web_listen=web_listen,
        database_url=database_url,
        workflow_database_url=workflow_database_url,
        blobs_url=blobs_url,
        heartbeat_s=heartbeat_s,
        lease_s=lease_s,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        enrolment_token=enrolment_token,
        user_token=user_token,
    )

    def ready(address: str) -> None:
        say(f"controller serves on {address}")
        if address_file is not None:
            whole.write(address_file, address.encode())

    run_until_stopped(lambda stop: serve(settings, stop=stop, ready=ready))


def agent(
    *,
    controller: Annotated[
        str | None, typer.Option(envvar="DISTILLFARM_CONTROLLER", help="The controller's address.")
    ] = None,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    agent_id: Annotated[str | None, typer.Option(help="Default: the host name.")] = None,
    token: Annotated[str | None, typer.Option(help="Enrolment token or credential.")] = None,
    ca: _File = None,
    tls_certificate: _File = None,
    tls_key: _File = None,
    verbose: _Verbose = False,
) -> None:
    """Offer this computer, and the phones on it, to a controller."""
    log_to_stderr(verbose)
    with extra("agent"):
        from distillfarm.agent.main import run  # noqa: PLC0415
        from distillfarm.agent.settings import AgentSettings  # noqa: PLC0415
    settings = configure(
        AgentSettings,
        controller=controller,
        state_dir=state_dir,
        agent_id=agent_id,
        token=token,
        ca=ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    run_until_stopped(lambda stop: run(settings, stop=stop))


def worker(
    *,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    name: Annotated[str | None, typer.Option(help="Keep it across restarts.")] = None,
    workflow_database_url: Annotated[str | None, typer.Option(help="The controller's.")] = None,
    blobs_url: Annotated[str | None, typer.Option(help="Folder, s3://..., grpc://...")] = None,
    memory_bytes: _Count = None,
    wall_s: _Number = None,
    disk_bytes: _Count = None,
    threads: _Count = None,
    concurrency: _Count = None,
    verbose: _Verbose = False,
) -> None:
    """Compress models for a controller, in subprocesses with limits."""
    log_to_stderr(verbose)
    lifeline.hold_on()
    with extra("compression"):
        from distillfarm.compression import worker as compression_worker  # noqa: PLC0415
        from distillfarm.compression.settings import WorkerSettings  # noqa: PLC0415
    settings = configure(
        WorkerSettings,
        state_dir=state_dir,
        name=name,
        workflow_database_url=workflow_database_url,
        blobs_url=blobs_url,
        memory_bytes=memory_bytes,
        wall_s=wall_s,
        disk_bytes=disk_bytes,
        threads=threads,
        concurrency=concurrency,
    )
    compression_worker.main(settings)


def configure(settings: Callable[..., Settings], **given: object) -> Settings:
    """Settings from the options that were given; the environment and defaults fill the rest.

    Raises:
        InvalidRequest: a value that the settings refuse.
    """
    from pydantic import ValidationError  # noqa: PLC0415  half of the time of --help

    try:
        return settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"setting {name}: {first['msg']}") from error


def run_until_stopped(serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a server until SIGTERM, SIGINT or the end of the parent that embeds it."""

    async def supervised() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        lifeline.hold_on()
        await serve(stop)

    asyncio.run(supervised())


def log_to_stderr(verbose: bool) -> None:
    """Structured logs on standard error: for people on a terminal, JSON lines elsewhere."""
    level = logging.DEBUG if verbose else logging.INFO
    renderer = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
