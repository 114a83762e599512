"""``distillfarm up``: a whole farm on this computer until it is stopped."""

import asyncio
import signal
from typing import Annotated

import typer

from distillfarm.cli.connection import run
from distillfarm.cli.console import say
from distillfarm.cli.embedded import Plan, embedded_farm
from distillfarm.cli.options import DEFAULT_ADDRESS, DEFAULT_STATE_DIR, StateDirOption


def up(
    *,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    listen: Annotated[str, typer.Option(help="Address for gRPC; port 0 picks.")] = DEFAULT_ADDRESS,
    web_listen: Annotated[
        str, typer.Option(help='Address of the pages; "" serves none.')
    ] = "127.0.0.1:7544",
) -> None:
    """Run controller, agent and worker here; studies left unfinished go on.

    Ctrl-C ends all three. So does the end of this process by any means.
    """
    run(_up(Plan(state_dir, listen, web_listen, temporary=False)))


async def _up(plan: Plan) -> None:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel if task else loop.stop)
    say(f"starting a farm in {plan.state_dir}")
    try:
        async with embedded_farm(plan) as farm:
            pages = f", pages on http://{farm.web_address}" if farm.web_address else ""
            say(f"the farm is up: gRPC on {farm.address}{pages}; Ctrl-C ends it")
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("the farm has ended")
