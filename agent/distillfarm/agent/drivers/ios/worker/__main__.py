"""``python -m distillfarm.agent.drivers.ios.worker UDID``: answers the agent's questions.

A process of its own for each iPhone: the library's tunnel exists once in a process, its licence
(GPL) stays on this side of a pipe, and a process that hangs can be killed.
"""

import asyncio
import os
import sys

import msgspec

from distillfarm.agent.drivers.ios.protocol import LONGEST_LINE_BYTES, Asked, Failed, Reply, Told
from distillfarm.agent.drivers.ios.worker.answers import Answers


def main() -> None:
    """Serve until the agent closes the pipe, which it does by dying, too."""
    # Whatever a library prints must not come between the answers.
    replies = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(_serve(Answers(sys.argv[1]), replies))


async def _serve(answers: Answers, replies: int) -> None:
    reader = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    running: set[asyncio.Task[None]] = set()
    try:
        while line := await reader.readline():
            asked = msgspec.json.decode(line, type=Asked)
            task = asyncio.create_task(_answer(answers, asked, replies))
            running.add(task)
            task.add_done_callback(running.discard)
    finally:
        for task in running:
            task.cancel()
        await answers.close()


async def _answer(answers: Answers, asked: Asked, replies: int) -> None:
    reply: Reply
    try:
        async with asyncio.timeout(asked.timeout_s):
            told = await answers.to(asked.question)
    except Exception as error:  # noqa: BLE001
        # The library raises all sorts; the agent tells them apart by their names.
        reply = Failed(asked.number, type(error).__name__, str(error))
    else:
        reply = Told(asked.number, msgspec.Raw(msgspec.json.encode(told)))
    line = msgspec.json.encode(reply) + b"\n"
    while line:
        line = line[os.write(replies, line) :]


if __name__ == "__main__":
    main()
