"""Finds the controller that a command talks to, or starts a farm for the command."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from distillfarm.cli.console import say
from distillfarm.cli.embedded import Plan, embedded_farm
from distillfarm.cli.options import DEFAULT_ADDRESS, DEFAULT_STATE_DIR, Connection
from distillfarm.cli.tenancy import running_farm, starting, usage
from distillfarm.domain.errors import Unavailable, WrongState

if TYPE_CHECKING:
    from distillfarm.client import Client

T = TypeVar("T")

_ANSWER_WITHIN_S = 0.5
_START_WITHIN_S = 120.0


@asynccontextmanager
async def connected(
    connection: Connection, *, start: bool = False, worker: bool = False
) -> AsyncIterator["Client"]:
    """A client of the controller named, else of the state folder's farm.

    Who names neither gets what serves at the default address, where there is no such farm.

    With ``start`` a farm is started for the duration of the block where there is none; with
    ``worker`` it can compress.

    Raises:
        Unavailable: nobody answers; the text says how to start a farm.
    """
    from distillfarm.client import Client  # noqa: PLC0415  loads gRPC

    async with AsyncExitStack() as stack:
        address = connection.address or await _find(connection.state_dir, worker, stack)
        if not address:
            if not start:
                raise Unavailable(
                    f"no controller found: none was named and no farm runs in "
                    f"{connection.state_dir}; start one: distillfarm up"
                )
            say(
                f"no controller found: starting a farm on this computer for this command "
                f"(state in {connection.state_dir}, logs in {connection.state_dir / 'logs'})"
            )
            plan = Plan(connection.state_dir, worker=worker)
            address = (await stack.enter_async_context(embedded_farm(plan))).address
        yield await stack.enter_async_context(
            Client.connect(address, token=connection.token, ca=connection.ca)
        )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(work)


async def _find(state_dir: Path, worker: bool, stack: AsyncExitStack) -> str:
    deadline_s = time.monotonic() + _START_WITHIN_S
    # Another process starts it.
    while starting(state_dir) and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    with ExitStack() as attempt:
        attempt.enter_context(usage(state_dir))
        farm = running_farm(state_dir)
        if farm is not None:
            if worker and not farm.compresses:
                raise WrongState(
                    f"process {farm.pid} runs a farm in {state_dir} that only measures; "
                    "try again when it has ended, or choose another --state-dir"
                )
            stack.enter_context(attempt.pop_all())
            return farm.address
    # Who names a folder means the farm of that folder, not whichever serves on this computer.
    if state_dir != DEFAULT_STATE_DIR:
        return ""
    return DEFAULT_ADDRESS if await asyncio.to_thread(_answers, DEFAULT_ADDRESS) else ""


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _ANSWER_WITHIN_S):
            return True
    except OSError:
        return False
