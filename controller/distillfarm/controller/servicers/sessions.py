"""The Sessions and Enrolment services, for agents."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from distillfarm.controller.enrolment import Gatekeeper
from distillfarm.controller.sessions import Host, serve
from distillfarm.wire.session import FromAgent, at_controller, to_agent
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import EnrolmentServicer, SessionsServicer


class Sessions(SessionsServicer):
    """See services.proto."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def Session(
        self, request_iterator: AsyncIterator[pb.AgentMessage], context: Any
    ) -> AsyncIterator[pb.ControllerMessage]:
        async for content in serve(self._host, _decoded(request_iterator)):
            yield to_agent(content)


class Enrolment(EnrolmentServicer):
    """See services.proto."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper

    async def Enrol(self, request: pb.EnrolRequest, context: Any) -> pb.EnrolReply:
        enrol = self._gatekeeper.enrol
        return pb.EnrolReply(
            credential=await asyncio.to_thread(enrol, request.token, request.agent_id)
        )


async def _decoded(messages: AsyncIterator[pb.AgentMessage]) -> AsyncIterator[FromAgent]:
    async for message in messages:
        yield at_controller(message)
