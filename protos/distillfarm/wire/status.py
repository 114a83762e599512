"""The one table between the error tree and gRPC status codes.

The exact class travels as ``google.rpc.ErrorInfo.reason`` (``DEVICE_NOT_READY``) and the request
id as ``google.rpc.RequestInfo``, the standard error details, so that any gRPC client can read them
and ours raises the class that the server raised.
"""

import re
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from distillfarm.domain import errors
from distillfarm.domain.errors import FarmError

_CODES: dict[type[FarmError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelRejected: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DeviceNotReady: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MissingExtra: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LeaseLost: grpc.StatusCode.ABORTED,
    errors.NoCapacity: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeviceOffline: grpc.StatusCode.UNAVAILABLE,
    errors.DeviceFelled: grpc.StatusCode.UNAVAILABLE,
    errors.AgentGone: grpc.StatusCode.UNAVAILABLE,
    errors.DeviceTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DigestMismatch: grpc.StatusCode.DATA_LOSS,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.InternalError: grpc.StatusCode.INTERNAL,
    FarmError: grpc.StatusCode.UNKNOWN,
}

# Codes that gRPC itself gives, without our details: a cut connection, a deadline of the call, a
# stream that a stopping server ended. None of them is about a device or about the owner's wish.
_BY_GRPC_ITSELF: dict[grpc.StatusCode, type[FarmError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.Unavailable,
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.NoCapacity,
    grpc.StatusCode.UNIMPLEMENTED: errors.WrongState,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
}

_DOMAIN = "distillfarm"
# The text travels twice, percent-encoded and in base64, within gRPC's 8 KiB of metadata.
_MAX_TEXT_BYTES = 1500


def _reason(cls: type[FarmError]) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).upper()


_BY_REASON = {_reason(cls): cls for cls in _CODES}


def to_status(error: FarmError, request_id: str) -> grpc.Status:
    """The status that tells ``error``; an unlisted subclass travels as its nearest base."""
    cls = next(each for each in type(error).__mro__ if each in _CODES)
    status = status_pb2.Status(code=_CODES[cls].value[0], message=_shortened(str(error)))
    for detail in (
        error_details_pb2.ErrorInfo(reason=_reason(cls), domain=_DOMAIN),
        error_details_pb2.RequestInfo(request_id=request_id),
    ):
        status.details.add().Pack(detail)
    return rpc_status.to_status(status)


@runtime_checkable
class FailedCall(Protocol):
    """What ``grpc`` and ``grpc.aio`` raise for a call that failed: the call itself."""

    def code(self) -> grpc.StatusCode:
        """Its status code."""

    def details(self) -> str | None:
        """Its message."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Key and value pairs; ``grpc-status-details-bin`` holds the error details."""


def from_rpc_error(error: FailedCall, address: str) -> FarmError:
    """The domain error that a failed call tells; ``address`` is who was called."""
    code, text = error.code(), error.details() or ""
    cls = _sent_class(error)
    if cls is not None:
        return cls(text)
    if code is grpc.StatusCode.UNAVAILABLE:
        text = f"{address} cannot be reached ({text}); is the controller running there?"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f"{address} did not answer in time"
    elif code is grpc.StatusCode.CANCELLED:
        text = f"{address} ended the call ({text})"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        text = f"{address} does not offer this call ({text}); is it of another version?"
    else:
        text = f"{address}: {code.name}: {text}"
    return _BY_GRPC_ITSELF.get(code, errors.InternalError)(text)


def _sent_class(error: FailedCall) -> type[FarmError] | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info) and info.domain == _DOMAIN:
                    return _BY_REASON.get(info.reason)
    return None


def _shortened(text: str) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= _MAX_TEXT_BYTES:
        return raw.decode()
    return raw[:_MAX_TEXT_BYTES].decode(errors="ignore") + "…"
