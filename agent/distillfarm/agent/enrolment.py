"""Exchanges an enrolment token for the credential that the agent keeps."""

from distillfarm.agent.settings import AgentSettings
from distillfarm.files import whole
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.transport import create_channel
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import EnrolmentStub

_TIMEOUT_S = 10.0


async def credential(settings: AgentSettings) -> str:
    """The agent's credential: the one on disk, else a new one; empty when no token is set.

    Raises:
        Unauthenticated: the token is unknown to the controller.
        Unavailable: the controller cannot be reached now.
    """
    path = settings.folder / "credential"
    if path.exists():
        return path.read_text().strip()
    if not settings.token:
        return ""
    async with create_channel(settings.controller, settings.security()) as channel:
        with domain_errors(settings.controller):
            reply = await EnrolmentStub(channel).Enrol(
                pb.EnrolRequest(token=settings.token, agent_id=settings.agent_id),
                timeout=_TIMEOUT_S,
            )
    # An empty file left by a crash would count as a credential.
    whole.write(path, reply.credential.encode(), whole.PRIVATE)
    return reply.credential


def forget(settings: AgentSettings) -> None:
    """Drop a credential that the controller does not know any more."""
    (settings.folder / "credential").unlink(missing_ok=True)
