"""What every call passes: a request id, the caller's credential, and one place for errors."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import structlog

from distillfarm.domain.errors import FarmError, InternalError, Unauthenticated, Unavailable
from distillfarm.domain.ids import fresh_id
from distillfarm.wire import status

REQUEST_ID_KEY = "x-request-id"
_MAX_REQUEST_ID = 64

_log = structlog.get_logger(__name__)

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any]"]]
Around = Callable[[grpc.HandlerCallDetails, Any], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Caller:
    """Who makes the current call; ``role`` is agent, worker or user."""

    subject: str
    role: str


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller() -> Caller | None:
    """Who makes the call that this task serves; None where nobody is asked for a credential."""
    return _caller.get()


class _Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Enters an async context manager around every call."""

    def around(
        self, details: grpc.HandlerCallDetails, context: Any
    ) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        return handler and _wrapped(handler, handler_call_details, self.around)


class ErrorsAndRequestIds(_Interceptor):
    """Gives each call a request id and turns errors into statuses; must be the outermost.

    The id is the caller's ``x-request-id`` or a new one, is bound to every log line of the call
    and is told with every error. A ``FarmError`` keeps its text; anything else is a defect, whose
    text stays in the log. A call without a deadline of its own gets ``unary_timeout_s``, unless it
    streams.
    """

    def __init__(self, unary_timeout_s: float = 120.0) -> None:
        self._unary_timeout_s = unary_timeout_s

    @asynccontextmanager
    async def around(self, details: grpc.HandlerCallDetails, context: Any) -> AsyncIterator[None]:
        """Serve one call."""
        request_id = _request_id(details)
        # Each call is served in a task, so in a context, of its own: there is nothing to unbind.
        structlog.contextvars.bind_contextvars(request_id=request_id, method=details.method)
        try:
            yield
        except FarmError as error:
            failure = error
        except grpc.aio.AbortError:
            raise  # The health and reflection services answer for themselves.
        except Exception:  # noqa: BLE001 - the edge of the process: a defect must become a status
            _log.exception("a call failed by a defect")
            failure = InternalError(f"{details.method} failed; see the log, request {request_id}")
        else:
            return
        _log.info("a call was refused", error=type(failure).__name__, text=str(failure))
        told = status.to_status(failure, request_id)
        await context.abort(told.code, told.details, told.trailing_metadata)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Bound the unary calls, then wrap them all."""

        async def bounded(details: grpc.HandlerCallDetails) -> Any:
            handler = await continuation(details)
            if handler is None or handler.request_streaming or handler.response_streaming:
                return handler
            return _wrapped(handler, details, self._bounded)

        return await super().intercept_service(bounded, handler_call_details)

    @asynccontextmanager
    async def _bounded(
        self, details: grpc.HandlerCallDetails, _context: Any
    ) -> AsyncIterator[None]:
        # gRPC itself cancels the handler when the caller's own deadline passes.
        try:
            async with asyncio.timeout(self._unary_timeout_s) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Unavailable(
                f"{details.method} took longer than {self._unary_timeout_s:g} s; try again"
            ) from error


class Authentication(_Interceptor):
    """Admits calls that carry ``authorization: Bearer SECRET`` of a known caller.

    ``authenticate`` gives (subject, role) of a secret, or None; it may block, and runs in a
    thread. ``open_methods`` need no credential: full names such as
    ``/distillfarm.v1.Enrolment/Enrol``, or a whole service with a trailing slash. The handler
    finds the caller with ``caller()``.
    """

    def __init__(
        self,
        authenticate: Callable[[str], tuple[str, str] | None],
        open_methods: Collection[str] = (),
    ) -> None:
        self._authenticate = authenticate
        self._open_methods = frozenset(open_methods)

    @asynccontextmanager
    async def around(self, details: grpc.HandlerCallDetails, _context: Any) -> AsyncIterator[None]:
        """Check one call."""
        service = details.method.rpartition("/")[0] + "/"
        if details.method not in self._open_methods and service not in self._open_methods:
            secret = _bearer(details)
            if not secret:
                raise Unauthenticated(
                    f"{details.method} needs a credential; send authorization: Bearer SECRET"
                )
            known = await asyncio.to_thread(self._authenticate, secret)
            if known is None:
                raise Unauthenticated("the credential is unknown or was revoked; enrol again")
            _caller.set(Caller(*known))
        yield


def raise_domain_error(error: grpc.RpcError, address: str) -> NoReturn:
    """Raise what a failed call tells, as the class that the server raised."""
    if isinstance(error, status.FailedCall):
        raise status.from_rpc_error(error, address) from error
    raise Unavailable(f"{address}: {error}") from error


@contextlib.contextmanager
def domain_errors(address: str) -> Iterator[None]:
    """Calls made inside raise domain errors; ``address`` is whom they call, for the text."""
    try:
        yield
    except grpc.RpcError as error:
        raise_domain_error(error, address)


def _wrapped(handler: Any, details: grpc.HandlerCallDetails, around: Around) -> Any:
    """``handler`` inside ``around``: of the same kind, always with coroutines.

    Replies are written here instead of being yielded: so a cancelled call is cancelled in here,
    and the inner generator is closed at once instead of whenever it is collected.
    """

    async def one(request: Any, context: Any) -> Any:
        async with around(details, context):
            return await inner(request, context)

    async def many(request: Any, context: Any) -> None:
        async with around(details, context):
            replies = inner(request, context)
            if inspect.isawaitable(replies):
                await replies
                return
            async with aclosing(replies):
                async for reply in replies:
                    await context.write(reply)

    codecs = (handler.request_deserializer, handler.response_serializer)
    if handler.request_streaming and handler.response_streaming:
        inner = handler.stream_stream
        return grpc.stream_stream_rpc_method_handler(many, *codecs)
    if handler.request_streaming:
        inner = handler.stream_unary
        return grpc.stream_unary_rpc_method_handler(one, *codecs)
    if handler.response_streaming:
        inner = handler.unary_stream
        return grpc.unary_stream_rpc_method_handler(many, *codecs)
    inner = handler.unary_unary
    return grpc.unary_unary_rpc_method_handler(one, *codecs)


def _metadata(details: grpc.HandlerCallDetails, key: str) -> str:
    for name, value in details.invocation_metadata or ():
        if name == key and isinstance(value, str):
            return value
    return ""


def _request_id(details: grpc.HandlerCallDetails) -> str:
    given = _metadata(details, REQUEST_ID_KEY)
    # A caller must not be able to forge log lines or fill the log.
    if 0 < len(given) <= _MAX_REQUEST_ID and given.isascii() and given.isprintable():
        return given
    return fresh_id("request")


def _bearer(details: grpc.HandlerCallDetails) -> str:
    scheme, _, secret = _metadata(details, "authorization").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
