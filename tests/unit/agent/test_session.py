"""The agent's side of a session against a controller that speaks real gRPC and misbehaves."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from stand_in_controller import StandInController

from distillfarm.agent.jobs import Jobs
from distillfarm.agent.session import Session
from distillfarm.agent.spool import Spool
from distillfarm.domain.agent import (
    Abandon,
    Ack,
    Assign,
    Heartbeat,
    Hello,
    JobProgress,
    JobResult,
)
from distillfarm.domain.errors import DeviceOffline, Unauthenticated
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.job import JobRequest, Lease, MeasureSpec
from distillfarm.domain.measurement import Energy, Measurement, Outcome
from distillfarm.domain.model import ArtifactRef, ModelFormat
from distillfarm.wire.transport import create_channel, create_server
from distillfarm.wire.v1.services_pb2_grpc import (
    add_SessionsServicer_to_server,
)

DIGEST = "sha256:" + "0" * 64
TARGET = parse_target("onnxruntime")


def assign(job_id: str = "job-1", token: int = 1, device_id: str = "device-1") -> Assign:
    artifact = ArtifactRef(DIGEST, 1, ModelFormat.ONNX, "m.onnx")
    request = JobRequest(job_id, artifact, TARGET, "*", MeasureSpec())
    return Assign(Lease(job_id, device_id, "agent-1", token, 1e9), request)


def measured(order: Assign) -> Measurement:
    return Measurement(
        measurement_id=f"measurement-{order.lease.job_id}",
        job_id=order.lease.job_id,
        device_id=order.lease.device_id,
        artifact_digest=DIGEST,
        target=TARGET,
        spec=order.request.spec,
        outcome=Outcome.OK,
        reason="",
        launches=(),
        energy=Energy(reason="no meter"),
        context=(),
        started_at_s=0.0,
        device_s=0.0,
    )


class Agent:
    """One session with its jobs; ``finish`` lets the running measurements end."""

    def __init__(self, address: str, folder: Path) -> None:
        self.finish = asyncio.Event()
        self.error: Exception | None = None
        self.stopped: list[str] = []
        self.spool = Spool(folder)
        self.channel = create_channel(address)
        self.session = Session(self.channel, address, "agent-1", "1.0", devices=lambda: ())
        self.jobs = Jobs(self._execute, self.spool, self.session.send)

    async def _execute(self, order: Assign, report: Callable[[str, float], None]) -> Measurement:
        report("launch 1 of 1", 0.5)
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.stopped.append(order.lease.job_id)
            raise
        if self.error is not None:
            raise self.error
        return measured(order)


@contextlib.asynccontextmanager
async def agent(address: str, folder: Path) -> AsyncIterator[Agent]:
    each = Agent(address, folder)
    talking = asyncio.create_task(each.session.run(each.jobs))
    try:
        yield each
    finally:
        talking.cancel()
        await asyncio.wait([talking])
        await each.jobs.close()
        await each.channel.close(None)


@pytest.fixture
async def controller() -> AsyncIterator[tuple[StandInController, str]]:
    servicer = StandInController()
    server, address = create_server("127.0.0.1:0")
    add_SessionsServicer_to_server(servicer, server)
    await server.start()
    yield servicer, address
    await server.stop(None)


Controller = tuple[StandInController, str]


async def test_a_job_is_run_reported_and_dropped_once_acknowledged(
    controller: Controller, tmp_path: Path
) -> None:
    servicer, address = controller
    async with agent(address, tmp_path) as each:
        assert (await servicer.hear(Hello)).held == ()
        servicer.say.put_nowait(assign())
        assert (await servicer.hear(JobProgress)).text == "launch 1 of 1"
        assert (await servicer.hear(Heartbeat)).held == (assign().lease,)
        each.finish.set()
        result = await servicer.hear(JobResult)
        assert result.measurement == measured(assign())
        assert each.spool.results() == [result]
        servicer.say.put_nowait(Ack(assign().lease))
        while (await servicer.hear(Heartbeat)).held:
            pass
        assert each.spool.results() == []


async def test_a_job_runs_on_while_the_connection_is_cut_and_its_result_is_sent_again(
    controller: Controller, tmp_path: Path
) -> None:
    servicer, address = controller
    async with agent(address, tmp_path) as each:
        servicer.say.put_nowait(assign())
        await servicer.hear(JobProgress)
        servicer.hang_up()
        each.finish.set()
        hello = await servicer.hear(Hello)
        while not hello.held:
            hello = await servicer.hear(Hello)
        assert hello.held == (assign().lease,)
        assert (await servicer.hear(JobResult)).measurement is not None
        assert each.stopped == []


async def test_a_result_outlives_the_agent_process(controller: Controller, tmp_path: Path) -> None:
    servicer, address = controller
    async with agent(address, tmp_path) as each:
        each.finish.set()
        servicer.say.put_nowait(assign())
        await servicer.hear(JobResult)
    async with agent(address, tmp_path):
        while not (await servicer.hear(Hello)).held:
            pass
        assert (await servicer.hear(JobResult)).lease == assign().lease


async def test_an_abandoned_job_is_stopped_and_never_reported(
    controller: Controller, tmp_path: Path
) -> None:
    servicer, address = controller
    async with agent(address, tmp_path) as each:
        servicer.say.put_nowait(assign())
        await servicer.hear(JobProgress)
        servicer.say.put_nowait(Abandon(assign().lease, "cancelled"))
        while (await servicer.hear(Heartbeat)).held:
            pass
        assert each.stopped == ["job-1"]
        assert each.spool.results() == []


async def test_a_newer_lease_on_a_device_stops_the_older_job_first(
    controller: Controller, tmp_path: Path
) -> None:
    servicer, address = controller
    async with agent(address, tmp_path) as each:
        servicer.say.put_nowait(assign("job-1", token=1))
        await servicer.hear(JobProgress)
        servicer.say.put_nowait(assign("job-2", token=2))
        assert (await servicer.hear(JobProgress)).lease.job_id == "job-2"
        assert each.stopped == ["job-1"]
        servicer.say.put_nowait(assign("job-1", token=1))
        each.finish.set()
        assert (await servicer.hear(JobResult)).lease.job_id == "job-2"


@pytest.mark.parametrize(
    ("error", "retryable"),
    [(DeviceOffline("device-1: unplugged"), True), (RuntimeError("a plug-in's defect"), True)],
)
async def test_the_harness_failing_is_reported_as_such(
    controller: Controller, tmp_path: Path, error: Exception, retryable: bool
) -> None:
    servicer, address = controller
    async with agent(address, tmp_path) as each:
        each.error = error
        each.finish.set()
        servicer.say.put_nowait(assign())
        result = await servicer.hear(JobResult)
        assert result.measurement is None
        assert str(error) in result.error
        assert result.retryable is retryable


async def test_an_unknown_credential_ends_the_session_for_good(
    controller: Controller, tmp_path: Path
) -> None:
    servicer, address = controller
    servicer.refuse = True
    async with create_channel(address) as channel:
        session = Session(channel, address, "agent-1", "1.0", devices=lambda: ())
        jobs = Jobs(Agent(address, tmp_path)._execute, Spool(tmp_path), session.send)
        with pytest.raises(Unauthenticated, match="who are you"):
            async with asyncio.timeout(10):
                await session.run(jobs)


async def test_the_agent_waits_for_a_controller_that_is_not_there_yet(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with agent(address, tmp_path):
        await asyncio.sleep(0.5)
        servicer = StandInController()
        server, _ = create_server(address)
        add_SessionsServicer_to_server(servicer, server)
        await server.start()
        assert (await servicer.hear(Hello)).agent_id == "agent-1"
        await server.stop(None)
