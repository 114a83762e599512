"""Calls to one controller: deadlines, domain errors, repetition, streams that go on."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from distillfarm.domain.errors import Unavailable
from distillfarm.wire.convert import from_message
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.retry import pauses, retrying

T = TypeVar("T")
Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_CALL_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Connection:
    """A channel to ``address``.

    Calls are repeated after retryable errors, with pauses of ``call_patience_s`` in sum; a watch
    gives up when nobody answered in pauses of ``watch_patience_s``.
    """

    address: str
    channel: grpc.aio.Channel
    call_patience_s: float
    watch_patience_s: float

    async def reply(self, method: "grpc.aio.UnaryUnaryMultiCallable[Q, R]", request: Q) -> R:
        """The reply to a call that is safe to repeat."""

        async def attempt() -> R:
            with domain_errors(self.address):
                return await method(request, timeout=_CALL_TIMEOUT_S)

        return await retrying(attempt, self.call_patience_s)

    async def value(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Q, R]", request: Q, cls: type[T]
    ) -> T:
        """The reply, as the domain object that it mirrors."""
        message = await self.reply(method, request)
        return from_message(message, cls)

    async def all(
        self, method: "grpc.aio.UnaryStreamMultiCallable[Q, R]", request: Q, cls: type[T]
    ) -> list[T]:
        """Everything that a call streams, which ends by itself."""

        async def attempt() -> list[T]:
            return [each async for each in self._stream(method, request, cls, _CALL_TIMEOUT_S)]

        return await retrying(attempt, self.call_patience_s)

    async def follow(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[Q, R]",
        request: Callable[[], Q],
        cls: type[T],
        finished: Callable[[], Awaitable[bool]],
    ) -> AsyncGenerator[T, None]:
        """What a call streams, made again after every cut until ``finished``.

        ``request`` must ask to go on after the last item. A stream that ends in order is followed
        by the question whether that was all: a server that stops ends its streams too.

        Raises:
            Unavailable: nobody answered for too long.
        """
        waits = pauses(self.watch_patience_s)
        while True:
            try:
                stream = self._stream(method, request(), cls, None)
                async with aclosing(stream):
                    async for item in stream:
                        yield item
                        waits = pauses(self.watch_patience_s)
                if await finished():
                    return
                failure = Unavailable(f"{self.address} ends every watch before its end")
            except Unavailable as error:
                failure = error
            pause = next(waits, None)
            if pause is None:
                raise failure
            await asyncio.sleep(pause)

    async def _stream(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[Q, R]",
        request: Q,
        cls: type[T],
        timeout_s: float | None,
    ) -> AsyncGenerator[T, None]:
        call = method(request, timeout=timeout_s)
        try:
            with domain_errors(self.address):
                async for message in call:
                    yield from_message(message, cls)
        finally:
            call.cancel()
