"""Serves the web application in the controller's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from distillfarm.controller.metrics import FarmMetrics
from distillfarm.domain.errors import WrongState
from distillfarm.wire.transport import parse_address


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever runs the controller."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def create_app(metrics: FarmMetrics) -> FastAPI:
    """The application of one controller: Prometheus metrics under ``/metrics``."""
    app = FastAPI(title="distillfarm", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/metrics", metrics.app())
    return app


@asynccontextmanager
async def serve_pages(app: FastAPI, address: str) -> AsyncIterator[str]:
    """Serve at ``address`` while the context is open; gives the address bound.

    Raises:
        WrongState: the address cannot be bound.
    """
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise WrongState(
            f"cannot listen on {address} for web pages: {error.strerror}; choose another "
            'web_listen, or "" for none'
        ) from error
    with listener:
        server = _Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        task = asyncio.create_task(server.serve([listener]), name="web")
        try:
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
