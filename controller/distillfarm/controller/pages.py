"""Serves the web application in the controller's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from distillfarm.controller.settings import ControllerSettings
from distillfarm.domain.errors import WrongState
from distillfarm.wire.transport import parse_address


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever runs the controller."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve_pages(app: ASGIApp, settings: ControllerSettings) -> AsyncIterator[str]:
    """Serve at ``web_listen`` while the context is open; gives the address bound.

    With the certificate of the gRPC server, if it has one.

    Raises:
        WrongState: the address cannot be bound.
    """
    host, port = parse_address(settings.web_listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise WrongState(
            f"cannot listen on {settings.web_listen} for web pages: {error.strerror}; "
            'choose another web_listen, or "" for none'
        ) from error
    with listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            lifespan="off",
            access_log=False,
            server_header=False,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve([listener]), name="web")
        try:
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
