"""A device that does nothing, for tests of what happens around a device."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from distillfarm.agent.protocols import AppRun
from distillfarm.domain.errors import DeviceOffline
from distillfarm.domain.hardware import DeviceInfo


class IdleDriver:
    """A ``DeviceDriver`` that can be entered and asked for its context, and no more."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.reset()

    async def probe(self) -> DeviceInfo:
        raise DeviceOffline("nothing is here")

    async def push(self, source: Path, name: str) -> str:
        return name

    async def pull(self, remote: str, destination: Path) -> None:
        raise DeviceOffline("nothing is here")

    async def launch(
        self, app: str, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> AppRun:
        raise DeviceOffline("nothing is here")

    async def context(self) -> Mapping[str, str]:
        return {"load": "0.0"}

    async def reset(self) -> None:
        pass


@pytest.fixture
def driver() -> IdleDriver:
    return IdleDriver()
