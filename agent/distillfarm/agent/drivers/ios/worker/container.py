"""Files in the containers of apps: house_arrest, then AFC."""

import asyncio
import posixpath
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pymobiledevice3.exceptions import AfcException, AfcFileNotFoundError
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.house_arrest import HouseArrestService

from distillfarm.agent.drivers.ios import protocol as ask
from distillfarm.agent.drivers.ios.worker.lockdown import trusted

_PIECE_BYTES = 4 * 2**20


class FileTooLarge(Exception):
    """A file that is to be read whole is larger than any that belongs there."""


class Containers:
    """The containers of one phone's apps; the last one is kept open, for launches ask it often."""

    def __init__(self, udid: str) -> None:
        self._udid = udid
        self._turn = asyncio.Lock()
        self._open = AsyncExitStack()
        self._bundle = ""
        self._afc: AfcService | None = None

    async def close(self) -> None:
        """Close what is open; idempotent."""
        self._afc = None
        await self._open.aclose()

    async def send(self, asked: ask.SendFile) -> None:
        """See ``protocol.SendFile``."""
        async with self._container(asked.bundle) as afc, _replaced(afc, asked.remote) as partial:
            handle = await afc.fopen(partial, "w")
            # The local disk is no device: it answers at once.
            with Path(asked.source).open("rb") as source:  # noqa: ASYNC230
                while piece := source.read(_PIECE_BYTES):
                    await afc.fwrite(handle, piece)
            await afc.fclose(handle)

    async def write(self, asked: ask.WriteFile) -> None:
        """See ``protocol.WriteFile``."""
        async with self._container(asked.bundle) as afc, _replaced(afc, asked.remote) as partial:
            await afc.set_file_contents(partial, asked.content)

    async def fetch(self, asked: ask.FetchFile) -> None:
        """See ``protocol.FetchFile``."""
        async with self._container(asked.bundle) as afc:
            left_bytes = int((await afc.stat(asked.remote))["st_size"])
            handle = await afc.fopen(asked.remote)
            with Path(asked.destination).open("wb") as destination:  # noqa: ASYNC230
                while left_bytes:
                    piece = await afc.fread(handle, min(left_bytes, _PIECE_BYTES))
                    if not piece:
                        raise EOFError(f"{asked.remote} became shorter while it was read")
                    left_bytes -= len(piece)
                    destination.write(piece)
            await afc.fclose(handle)

    async def read(self, asked: ask.ReadFile) -> bytes | None:
        """See ``protocol.ReadFile``."""
        async with self._container(asked.bundle) as afc:
            try:
                size_bytes = int((await afc.stat(asked.remote))["st_size"])
                if size_bytes > asked.most_bytes:
                    raise FileTooLarge(f"{asked.remote}: {size_bytes} bytes")
                return bytes(await afc.get_file_contents(asked.remote))
            except AfcFileNotFoundError:
                return None

    async def size(self, asked: ask.FileSize) -> int | None:
        """See ``protocol.FileSize``."""
        async with self._container(asked.bundle) as afc:
            try:
                return int((await afc.stat(asked.remote))["st_size"])
            except AfcFileNotFoundError:
                return None

    async def folders(self, asked: ask.Folders) -> tuple[ask.Folder, ...]:
        """See ``protocol.Folders``."""
        async with self._container(asked.bundle) as afc:
            if not await afc.exists(asked.remote):
                return ()
            return tuple(
                [
                    await _folder(afc, f"{asked.remote}/{name}", name)
                    for name in await afc.listdir(asked.remote)
                ]
            )

    async def remove(self, asked: ask.RemoveFolder) -> None:
        """See ``protocol.RemoveFolder``."""
        async with self._container(asked.bundle) as afc:
            if await afc.exists(asked.remote):
                await afc.rm(asked.remote)

    @asynccontextmanager
    async def _container(self, bundle: str) -> AsyncIterator[AfcService]:
        """The container of an app, one user at a time; a connection in doubt is not kept."""
        async with self._turn:
            try:
                if self._afc is None or self._bundle != bundle:
                    await self.close()
                    self._afc, self._bundle = await self._connect(bundle), bundle
                yield self._afc
            except (AfcException, FileTooLarge):
                # An answer, so the connection is sound.
                raise
            except BaseException:
                await self.close()
                raise

    async def _connect(self, bundle: str) -> AfcService:
        client = await self._open.enter_async_context(trusted(self._udid))
        service = await HouseArrestService.create(client, bundle)
        return await self._open.enter_async_context(service)


async def _folder(afc: AfcService, path: str, name: str) -> ask.Folder:
    files = [await afc.stat(f"{path}/{each}") for each in await afc.listdir(path)]
    return ask.Folder(
        name,
        sum(int(each["st_size"]) for each in files),
        max((each["st_mtime"].timestamp() for each in files), default=0.0),
    )


@asynccontextmanager
async def _replaced(afc: AfcService, remote: str) -> AsyncIterator[str]:
    """A name to write to; what is there then gets its real one."""
    partial = f"{remote}.part"
    await afc.makedirs(posixpath.dirname(remote))
    yield partial
    await afc.rm_single(remote, force=True)
    await afc.rename(partial, remote)
