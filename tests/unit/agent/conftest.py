"""A device that does nothing, and a phone's daemon behind a real adb server."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from adbutils import AdbClient, AdbDevice
from python_adbd import Daemon, NoAdb, adb_server

from distillfarm.agent.drivers.android import link, shell
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


@pytest.fixture(scope="module")
def adb() -> Iterator[AdbClient]:
    """A client of a real adb server of the tests' own."""
    try:
        with adb_server() as port:
            yield shell.adb_client(port=port)
    except NoAdb as error:
        pytest.skip(str(error))


@pytest.fixture
def daemon(adb: AdbClient) -> Iterator[Daemon]:
    """A phone's daemon, connected."""
    daemon = Daemon()
    try:
        link.reconnect(adb, daemon.address)
        yield daemon
    finally:
        adb.disconnect(daemon.address)
        daemon.stop()


@pytest.fixture
def phone(adb: AdbClient, daemon: Daemon) -> AdbDevice:
    return adb.device(daemon.address)
