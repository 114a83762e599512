"""Runs a whole farm on this computer: controller, agent and worker as supervised children."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from distillfarm.cli.children import Child
from distillfarm.cli.console import say
from distillfarm.cli.tenancy import Farm, announce, ownership, unused
from distillfarm.domain.errors import FarmError, InvalidRequest, Unavailable, WrongState
from distillfarm.domain.hardware import DeviceStatus

_HEALTHY_WITHIN_S = 120.0
_LOOK_EVERY_S = 0.1
_MOST_STEPS = 4
_GUARDS = tuple(
    f"DISTILLFARM_CONTROLLER_{name}"
    for name in ("ENROLMENT_TOKEN", "USER_TOKEN", "TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")
)


@dataclass(frozen=True)
class Plan:
    """What to run: port 0 picks a free one, an empty ``web_listen`` serves no pages.

    Without ``worker`` the farm measures but compresses nothing, and needs no framework.
    ``temporary`` farms outlive their command until no other command uses them.
    """

    state_dir: Path
    listen: str = "127.0.0.1:0"
    web_listen: str = ""
    worker: bool = True
    temporary: bool = True


@asynccontextmanager
async def embedded_farm(plan: Plan) -> AsyncIterator[Farm]:
    """Run a farm for the duration of the block; it is healthy when the block begins.

    However this process ends, the children end with it; a child that ends by itself is started
    again.

    Raises:
        AlreadyExists: a farm runs in this state folder.
        InvalidRequest: the environment asks for credentials, which only a lab's controller has.
        WrongState: a port is taken.
        Unavailable: a part ended at its start or did not become healthy in time.
    """
    for name in _GUARDS:
        if os.environ.get(name):
            raise InvalidRequest(
                f"{name} is set, and an embedded farm serves this computer alone, without "
                "credentials; unset it, or run controller, agent and worker each alone"
            )
    with ownership(plan.state_dir) as lock, _pipe() as (lifeline, _):
        for address in filter(None, (plan.listen, plan.web_listen)):
            require_free(address)
        folder = plan.state_dir / "logs"
        folder.mkdir(exist_ok=True)
        address_file = plan.state_dir / "controller.address"
        address_file.unlink(missing_ok=True)
        parts = _Parts(plan, address_file, folder, (lifeline, lock))
        try:
            farm = await parts.start()
            announce(plan.state_dir, farm)
            yield farm
            if plan.temporary:
                await _wait_for_users(plan.state_dir)
        finally:
            (plan.state_dir / "farm.json").unlink(missing_ok=True)
            await parts.stop()


class _Parts:
    """The children of one farm, in the order in which they start."""

    def __init__(
        self, plan: Plan, address_file: Path, folder: Path, inherited: tuple[int, ...]
    ) -> None:
        self._plan = plan
        self._address_file = address_file
        self._address = plan.listen

        def child(name: str, options: Callable[[], tuple[str, ...]] = tuple) -> Child:
            command = (sys.executable, "-m", "distillfarm.cli", name)
            state = ("--state-dir", str(plan.state_dir))
            return Child(name, lambda: (*command, *state, *options()), folder, inherited)

        pages = ("--web-listen", plan.web_listen, "--address-file", str(address_file))
        self._controller = child("controller", lambda: ("--listen", self._address, *pages))
        self._agent = child("agent", lambda: ("--controller", self._address))
        # A step trains on one thread, so every core takes one; nothing is measured meanwhile.
        steps = str(min(os.cpu_count() or 1, _MOST_STEPS))
        self._worker = child("worker", lambda: ("--concurrency", steps))
        self._running: dict[Child, asyncio.Task[None]] = {}

    async def start(self) -> Farm:
        """Start everything and wait until a device can be given work."""
        deadline_s = time.monotonic() + _HEALTHY_WITHIN_S
        self._begin(self._controller)
        while not self._address_file.exists():
            await self._look("the controller serves", deadline_s)
        # A restarted controller must come back where agents and clients look for it.
        self._address = self._address_file.read_text()
        self._begin(self._agent)
        if self._plan.worker:
            self._begin(self._worker)
        while not await _has_device(self._address):
            await self._look("this computer is listed as a device", deadline_s)
        for child in self._running:
            child.settled = True
        return Farm(os.getpid(), self._address, self._plan.web_listen, self._plan.worker)

    async def stop(self) -> None:
        """End all children, the controller last so that the others can say goodbye."""
        controller = self._running.pop(self._controller, None)
        for group in (list(self._running.values()), [controller] if controller else []):
            for task in group:
                task.cancel()
            await asyncio.gather(*group, return_exceptions=True)
        self._running.clear()

    def _begin(self, child: Child) -> None:
        self._running[child] = asyncio.create_task(child.keep(), name=child.name)

    async def _look(self, what: str, deadline_s: float) -> None:
        """Wait a moment for ``what``, and raise what ended a child meanwhile."""
        if time.monotonic() > deadline_s:
            raise Unavailable(
                f"{_HEALTHY_WITHIN_S:.0f} s passed before {what}; "
                f"see the logs in {self._plan.state_dir / 'logs'}"
            )
        done, _ = await asyncio.wait(self._running.values(), timeout=_LOOK_EVERY_S)
        for task in done:
            task.result()


def require_free(address: str) -> None:
    """Check that nobody listens on ``address``.

    Raises:
        InvalidRequest: a malformed address.
        WrongState: it is taken, or not an address of this computer.
    """
    from distillfarm.wire.transport import parse_address  # noqa: PLC0415  loads gRPC

    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise WrongState(
                f"cannot listen on {address}: {error.strerror}; choose another address "
                "with --listen or --web-listen (port 0 picks a free one)"
            ) from error


async def _has_device(address: str) -> bool:
    from distillfarm.client import Client  # noqa: PLC0415  loads gRPC

    # The controller has said that it serves; it may restart meanwhile.
    with suppress(FarmError):
        async with Client.connect(address) as client:
            devices = await client.devices("*")
            return any(device.status is not DeviceStatus.OFFLINE for device in devices)
    return False


async def _wait_for_users(state_dir: Path) -> None:
    if unused(state_dir):
        return
    say("waiting for another command that uses this farm")
    while not unused(state_dir):  # noqa: ASYNC110  other processes use it
        await asyncio.sleep(1.0)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)
