"""The door of every phone's driver: one user at a time, and nothing stays behind."""

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from distillfarm.domain.errors import DeviceOffline, DeviceTimeout

Version = tuple[Path, str, int, int]
"""A file that is sent under a name, while it is as it was."""


class PhoneDriver(ABC):
    """What entering and leaving a ``protocols.DeviceDriver`` means for a phone.

    Others wait at the door. ``_sent`` is where files lie that were sent since it was entered.
    """

    def __init__(self) -> None:
        self._sent: dict[Version, str] = {}
        self._door = asyncio.Lock()
        self._entered = False

    @property
    @abstractmethod
    def serial(self) -> str:
        """The name of the phone inside its agent."""

    @abstractmethod
    async def reset(self) -> None:
        """See ``protocols.DeviceDriver``."""

    @abstractmethod
    async def _make_ready(self) -> None:
        """Wait for the phone and make it ready to be measured on."""

    async def __aenter__(self) -> Self:
        """Wait for whoever is inside, and for the phone; make it ready.

        Raises:
            PhoneFault: it does not answer, is not ready and why, or was updated since the last
                probe: then it has to be probed anew first.
        """
        await self._door.acquire()
        try:
            await self._make_ready()
            self._entered = True
        except BaseException:
            self._door.release()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what runs and put everything back; on a phone that is lost, its next entry does."""
        try:
            await self.reset()
        except (DeviceOffline, DeviceTimeout):
            if error is None:
                raise
        finally:
            self._entered = False
            self._sent.clear()
            self._door.release()

    def _inside(self) -> None:
        """Refuse what needs the phone to be ready.

        Raises:
            DeviceOffline: the driver was not entered.
        """
        if not self._entered:
            raise DeviceOffline(f"{self.serial}: enter the driver first")


def version(source: Path, name: str) -> Version:
    """The file as it is now, under the name."""
    found = source.stat()
    return source, name, found.st_size, found.st_mtime_ns
