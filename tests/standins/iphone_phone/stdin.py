"""How the processes of a lab hear their owner: by lines of their input, whose end is theirs."""

import asyncio
import sys


async def lines() -> asyncio.StreamReader:
    """The standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def say(line: str) -> None:
    """Answer."""
    sys.stdout.write(line.rstrip("\n") + "\n")
    sys.stdout.flush()


async def output() -> asyncio.StreamWriter:
    """The standard output, for bytes."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sys.stdout
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
