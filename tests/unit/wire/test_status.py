"""The client raises the class that the server raised, and a defect's text stays at home."""

import asyncio
import inspect
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from structlog.testing import capture_logs

from distillfarm.domain import errors
from distillfarm.domain.errors import FarmError, InternalError, Unavailable, WrongState
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.status import to_status
from distillfarm.wire.transport import create_channel
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import (
    EnrolmentServicer,
    EnrolmentStub,
    StudiesStub,
    add_EnrolmentServicer_to_server,
)

ERRORS = sorted(
    (
        each
        for each in vars(errors).values()
        if inspect.isclass(each) and issubclass(each, FarmError)
    ),
    key=lambda each: each.__name__,
)


class Raising(EnrolmentServicer):
    """Raises what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def Enrol(self, request: pb.EnrolRequest, context: Any) -> pb.EnrolReply:
        raise self.error


async def call(address: str) -> pb.EnrolReply:
    async with create_channel(address) as channel:
        with domain_errors(address):
            return await EnrolmentStub(channel).Enrol(pb.EnrolRequest(), timeout=10)


async def raised_by(serve: Any, error: Exception) -> FarmError:
    address = await serve(lambda server: add_EnrolmentServicer_to_server(Raising(error), server))
    with pytest.raises(FarmError) as caught:
        await call(address)
    return caught.value


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
async def test_the_client_raises_what_the_server_raised(serve: Any, cls: type[FarmError]) -> None:
    error = await raised_by(serve, cls("phone-7: skin 41.2 °C, limit 38.0;\ncooling"))
    assert type(error) is cls
    assert str(error) == "phone-7: skin 41.2 °C, limit 38.0;\ncooling"


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (errors.ModelRejected, grpc.StatusCode.INVALID_ARGUMENT),
        (errors.DeviceNotReady, grpc.StatusCode.FAILED_PRECONDITION),
        (errors.LeaseLost, grpc.StatusCode.ABORTED),
        (errors.AgentGone, grpc.StatusCode.UNAVAILABLE),
        (errors.DeviceTimeout, grpc.StatusCode.DEADLINE_EXCEEDED),
        (errors.DigestMismatch, grpc.StatusCode.DATA_LOSS),
        (errors.Cancelled, grpc.StatusCode.CANCELLED),
    ],
)
def test_any_grpc_client_can_read_code_class_and_request_id(
    cls: type[FarmError], code: grpc.StatusCode
) -> None:
    status = to_status(cls("text"), "request-1")
    assert status.code is code
    ((key, value),) = status.trailing_metadata
    assert key == "grpc-status-details-bin"
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    details = status_pb2.Status.FromString(value).details
    assert details[0].Unpack(info)
    assert details[1].Unpack(request)
    assert (info.domain, info.reason) == ("distillfarm", _upper(cls.__name__))
    assert request.request_id == "request-1"


def _upper(name: str) -> str:
    return "".join(f"_{each}" if each.isupper() else each for each in name).strip("_").upper()


async def test_a_class_of_its_own_travels_as_its_base(serve: Any) -> None:
    class TooHot(errors.DeviceNotReady):
        """Nobody else knows it."""

    error = await raised_by(serve, TooHot("41 °C"))
    assert type(error) is errors.DeviceNotReady
    assert str(error) == "41 °C"


async def test_a_defect_keeps_its_text_in_the_log(serve: Any) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        error = await raised_by(serve, KeyError("the password is 1234"))
    assert type(error) is InternalError
    assert "1234" not in str(error)
    (entry,) = [each for each in logs if each["log_level"] == "error"]
    assert entry["exc_info"]
    assert entry["request_id"] in str(error)
    assert entry["method"] == "/distillfarm.v1.Enrolment/Enrol"


async def test_a_text_of_any_length_arrives_shortened(serve: Any) -> None:
    error = await raised_by(serve, WrongState("ä" * 100_000))
    assert type(error) is WrongState
    assert str(error).startswith("äää")
    assert str(error).endswith("…")
    assert len(str(error)) < 2000


async def test_text_that_is_no_unicode_arrives(serve: Any) -> None:
    error = await raised_by(serve, WrongState("file \udcff.onnx"))
    assert str(error) == "file ?.onnx"


async def test_nobody_listening_names_address_and_remedy() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached.*is the controller"):
        await call("127.0.0.1:1")


async def test_a_call_that_does_not_exist_names_the_version(serve: Any) -> None:
    address = await serve(
        lambda server: add_EnrolmentServicer_to_server(Raising(KeyError()), server)
    )
    async with create_channel(address) as channel:
        with pytest.raises(WrongState, match="another version"), domain_errors(address):
            await StudiesStub(channel).GetStudy(pb.GetStudyRequest(), timeout=10)


async def test_a_deadline_of_the_call_is_not_a_device_that_is_slow(serve: Any) -> None:
    class Slow(EnrolmentServicer):
        async def Enrol(self, request: pb.EnrolRequest, context: Any) -> pb.EnrolReply:
            await asyncio.Event().wait()
            return pb.EnrolReply()

    address = await serve(lambda server: add_EnrolmentServicer_to_server(Slow(), server))
    async with create_channel(address) as channel:
        with pytest.raises(Unavailable, match="did not answer in time"), domain_errors(address):
            await EnrolmentStub(channel).Enrol(pb.EnrolRequest(), timeout=0.2)
