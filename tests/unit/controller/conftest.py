"""A controller for each test."""

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from controller_farm import Farm, FarmFactory, running_farm

from distillfarm.controller.settings import ControllerSettings
from distillfarm.wire.transport import PLAINTEXT, ClientSecurity


@pytest.fixture
def make_farm(tmp_path: Path) -> FarmFactory:
    """Call it for a controller on ``tmp_path``, with settings by name."""

    def make(
        *, security: ClientSecurity = PLAINTEXT, **changes: object
    ) -> AbstractAsyncContextManager[Farm]:
        given: dict[str, object] = {
            "state_dir": tmp_path / "state",
            "listen": "127.0.0.1:0",
            "web_listen": "",
            # Three silent beats end a session: a busy machine must not be silent for so long.
            "heartbeat_s": 0.3,
            "lease_s": 1.8,
            "grace_s": 0.0,
        }
        return running_farm(ControllerSettings.model_validate(given | changes), security)

    return make


@pytest.fixture
def unused_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
async def farm(make_farm: FarmFactory) -> AsyncIterator[Farm]:
    async with make_farm() as farm:
        yield farm
