"""One agent's live session: what is to be sent to it, and the loop that hears it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from distillfarm.domain.agent import Hello
from distillfarm.domain.errors import FarmError, InvalidRequest, PermissionDenied, Unavailable
from distillfarm.wire.interceptors import caller
from distillfarm.wire.session import FromAgent, FromController

_HELLO_S = 30.0
_MAX_ID = 200


@dataclass(eq=False)
class Session:
    """The controller's end of one stream; ``heard_s`` is on the fleet's clock.

    Assignments wait in ``outgoing``; there is at most one for each of the agent's devices.
    """

    agent_id: str
    heard_s: float
    outgoing: asyncio.Queue[FromController | None] = field(default_factory=asyncio.Queue)
    ended_by: FarmError | None = None

    def send(self, message: FromController) -> None:
        """Queue a message."""
        self.outgoing.put_nowait(message)

    def close(self, why: FarmError | None = None) -> None:
        """End the stream after what is queued; ``why`` is what the agent is told."""
        self.ended_by = self.ended_by or why
        self.outgoing.put_nowait(None)


class Host(Protocol):
    """Who takes part in sessions: the fleet."""

    async def join(self, hello: Hello) -> Session:
        """Begin a session."""

    async def hear(self, session: Session, message: FromAgent) -> None:
        """Act on a message."""

    async def leave(self, session: Session) -> None:
        """End a session; without effect when another has replaced it."""


async def serve(host: Host, messages: AsyncIterator[FromAgent]) -> AsyncIterator[FromController]:
    """Serve one stream from its Hello to its end.

    Raises:
        InvalidRequest: the stream does not begin with Hello, or the agent's id is unusable.
        PermissionDenied: the credential belongs to another agent.
        Unavailable: the agent was silent, or the controller stops.
    """
    session = await host.join(await _hello(messages))
    reader = asyncio.create_task(_read(host, session, messages))
    try:
        while (message := await session.outgoing.get()) is not None:
            yield message
        if session.ended_by is not None:
            raise session.ended_by
        await reader
    finally:
        reader.cancel()
        await host.leave(session)


async def _hello(messages: AsyncIterator[FromAgent]) -> Hello:
    try:
        async with asyncio.timeout(_HELLO_S):
            hello = await anext(messages)
    except (TimeoutError, StopAsyncIteration) as error:
        raise InvalidRequest("a session begins with Hello, and none came") from error
    if not isinstance(hello, Hello):
        raise InvalidRequest(f"a session begins with Hello, not with {type(hello).__name__}")
    if not hello.agent_id.strip() or len(hello.agent_id) > _MAX_ID:
        raise InvalidRequest(f"agent id {hello.agent_id[:_MAX_ID]!r}: 1 to {_MAX_ID} characters")
    who = caller()
    if who is not None and who.role == "agent" and who.subject != hello.agent_id:
        raise PermissionDenied(f"this credential is {who.subject}'s, not {hello.agent_id}'s")
    return hello


async def _read(host: Host, session: Session, messages: AsyncIterator[FromAgent]) -> None:
    try:
        async for message in messages:
            await host.hear(session, message)
    finally:
        session.close()


def silent(session: Session, silence_s: float) -> Unavailable:
    """What an agent is told that was not heard for too long."""
    return Unavailable(f"agent {session.agent_id} was silent for {silence_s:.0f} s; connect again")
