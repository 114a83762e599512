"""The messages of an agent's session: each a ``oneof`` around one domain object."""

from typing import TypeVar

from google.protobuf.message import Message

from distillfarm.domain.agent import (
    Abandon,
    Ack,
    Assign,
    HealthReport,
    Heartbeat,
    Hello,
    Inventory,
    JobProgress,
    JobResult,
    Welcome,
)
from distillfarm.domain.errors import InvalidRequest
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.v1 import services_pb2 as pb

M = TypeVar("M", bound=Message)

FromAgent = Hello | Inventory | Heartbeat | HealthReport | JobProgress | JobResult
FromController = Welcome | Assign | Abandon | Ack

_FIELDS: dict[type, str] = {
    Hello: "hello",
    Inventory: "inventory",
    Heartbeat: "heartbeat",
    JobProgress: "progress",
    JobResult: "result",
    HealthReport: "health",
    Welcome: "welcome",
    Assign: "assign",
    Abandon: "abandon",
    Ack: "ack",
}


def to_controller(content: FromAgent) -> pb.AgentMessage:
    """What an agent sends."""
    return _wrap(content, pb.AgentMessage)


def at_controller(message: pb.AgentMessage) -> FromAgent:
    """What an agent sent.

    Raises:
        InvalidRequest: empty, of a newer kind, or with a field missing.
    """
    kind = message.WhichOneof("content")
    if kind == "hello":
        return from_message(message.hello, Hello)
    if kind == "inventory":
        return from_message(message.inventory, Inventory)
    if kind == "heartbeat":
        return from_message(message.heartbeat, Heartbeat)
    if kind == "progress":
        return from_message(message.progress, JobProgress)
    if kind == "result":
        return from_message(message.result, JobResult)
    if kind == "health":
        return from_message(message.health, HealthReport)
    raise InvalidRequest("AgentMessage.content is missing or of a newer kind; upgrade this side")


def to_agent(content: FromController) -> pb.ControllerMessage:
    """What the controller sends."""
    return _wrap(content, pb.ControllerMessage)


def at_agent(message: pb.ControllerMessage) -> FromController:
    """What the controller sent.

    Raises:
        InvalidRequest: empty, of a newer kind, or with a field missing.
    """
    kind = message.WhichOneof("content")
    if kind == "welcome":
        return from_message(message.welcome, Welcome)
    if kind == "assign":
        return from_message(message.assign, Assign)
    if kind == "abandon":
        return from_message(message.abandon, Abandon)
    if kind == "ack":
        return from_message(message.ack, Ack)
    raise InvalidRequest(
        "ControllerMessage.content is missing or of a newer kind; upgrade this side"
    )


def _wrap(content: FromAgent | FromController, kind: type[M]) -> M:
    return kind(**{_FIELDS[type(content)]: to_message(content)})
