"""What agents and the controller say to each other survives the wire."""

import pytest

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
from distillfarm.domain.errors import Blame, InvalidRequest
from distillfarm.domain.hardware import ComputeUnit, DeviceHealth, Runtime, Target
from distillfarm.domain.job import JobRequest, Lease, MeasureSpec
from distillfarm.domain.model import ArtifactRef, ModelFormat
from distillfarm.wire.session import (
    FromAgent,
    FromController,
    at_agent,
    at_controller,
    to_agent,
    to_controller,
)
from distillfarm.wire.v1 import services_pb2 as pb

LEASE = Lease("job-1", "device-1", "agent-1", 7, 12.5)
REQUEST = JobRequest(
    "key-1",
    ArtifactRef("sha256:" + "0" * 64, 3, ModelFormat.ONNX, "m.onnx"),
    Target(Runtime.ONNXRUNTIME, "cpu", ComputeUnit.CPU),
    "*",
    MeasureSpec(),
)


@pytest.mark.parametrize(
    "content",
    [
        Hello("agent-1", "0.1.0", (), (LEASE,)),
        Inventory(()),
        Heartbeat((LEASE,)),
        HealthReport((DeviceHealth("R58", 12.5, 81.0, "charging", None, 2, "hot"),)),
        JobProgress(LEASE, "launch 2 of 5", 0.4),
        JobResult(LEASE, None, "the device went away", True, Blame.PHONE, felled=True),
    ],
    ids=lambda content: type(content).__name__,
)
def test_the_controller_gets_what_an_agent_sent(content: FromAgent) -> None:
    sent = to_controller(content).SerializeToString()
    assert at_controller(pb.AgentMessage.FromString(sent)) == content


@pytest.mark.parametrize(
    "content",
    [Welcome(5.0, 30.0), Assign(LEASE, REQUEST), Abandon(LEASE, "cancelled"), Ack(LEASE)],
    ids=lambda content: type(content).__name__,
)
def test_an_agent_gets_what_the_controller_sent(content: FromController) -> None:
    sent = to_agent(content).SerializeToString()
    assert at_agent(pb.ControllerMessage.FromString(sent)) == content


def test_a_message_of_a_newer_kind_is_refused_with_the_remedy() -> None:
    newer = b"\xfa\x01\x00"  # Field 31, which no version has.
    with pytest.raises(InvalidRequest, match=r"AgentMessage.*upgrade"):
        at_controller(pb.AgentMessage.FromString(newer))
    with pytest.raises(InvalidRequest, match=r"ControllerMessage.*upgrade"):
        at_agent(pb.ControllerMessage.FromString(newer))
