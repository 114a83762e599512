"""Exchanges an enrolment token for the credential that the agent keeps."""

import os
from pathlib import Path

from distillfarm.agent.settings import AgentSettings
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
    _write_private(path, reply.credential)
    return reply.credential


def forget(settings: AgentSettings) -> None:
    """Drop a credential that the controller does not know any more."""
    (settings.folder / "credential").unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    # An empty file left by a crash would count as a credential.
    partial.replace(path)
