"""Failures are tried elsewhere, devices that keep failing and models that fell them are stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import farm_samples as samples
import pytest
from controller_farm import Farm, FarmFactory
from simulated_agent import SimulatedAgent

from distillfarm.domain.agent import Ack, Assign, JobResult
from distillfarm.domain.errors import Blame, InvalidRequest
from distillfarm.domain.hardware import Device, DeviceStatus
from distillfarm.domain.job import Job, JobState
from distillfarm.domain.measurement import Outcome
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.v1 import job_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import DevicesStub, JobsStub

CALM = {"heartbeat_s": 2.0, "lease_s": 20.0}
"""Nothing here is about silence, and a busy machine is silent now and then."""
PHONES = [samples.device_info(name) for name in ("R1", "R2", "R3")]


@pytest.fixture
async def farm(make_farm: FarmFactory) -> AsyncIterator[Farm]:
    async with make_farm(**CALM) as farm:
        yield farm


async def submit(farm: Farm, key: str = "key", content: bytes = b"model", **more: str) -> Job:
    request = samples.request(key, digest=farm.blobs.put_bytes(content), **more)  # type: ignore[arg-type]
    message = pb.SubmitJobRequest(request=to_message(request, job_pb2.JobRequest))
    return from_message(await JobsStub(farm.channel).SubmitJob(message), Job)


async def final(farm: Farm, job: Job) -> Job:
    async with asyncio.timeout(20):
        call = JobsStub(farm.channel).WatchJob(pb.WatchJobRequest(job_id=job.job_id))
        seen = [from_message(message, Job) async for message in call]
    return seen[-1]


async def device(farm: Farm, word: str) -> Device:
    reply = await DevicesStub(farm.channel).GetDevice(pb.GetDeviceRequest(device_id=word))
    return from_message(reply, Device)


async def fail(agent: SimulatedAgent, *, blame: Blame = Blame.HARNESS, felled: bool = False) -> str:
    """Take the next assignment and fail it; gives the device's id."""
    lease = (await agent.expect(Assign)).lease
    await agent.send(
        JobResult(lease, error="it broke", retryable=not felled, blame=blame, felled=felled)
    )
    await agent.expect(Ack)
    return lease.device_id


@asynccontextmanager
async def agents(farm: Farm, *phones: str) -> AsyncIterator[list[SimulatedAgent]]:
    """One agent a phone, so that each test speaks for the phone it means."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                SimulatedAgent(farm.address, f"agent-{name}", [samples.device_info(name)])
            )
            for name in phones
        ]


async def test_a_failed_attempt_is_tried_on_every_other_device_first(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", PHONES) as agent:
        job = await submit(farm)
        tried = [await fail(agent) for _ in PHONES]
        assert len(set(tried)) == len(PHONES)
        failed = await final(farm, job)
        assert (failed.state, set(failed.failed_on)) == (JobState.FAILED, set(tried))


async def test_a_restarted_controller_still_knows_where_a_job_failed(
    make_farm: FarmFactory,
) -> None:
    async with make_farm(**CALM) as farm, agents(farm, "R1") as (agent,):
        job = await submit(farm, selector="platform=host")
        first = await fail(agent)
        await agent.expect(Assign)  # There is no other device yet.
    async with make_farm(**CALM) as farm, agents(farm, "R2", "R1") as (other, _):
        assign = await other.expect(Assign)
        assert (assign.lease.job_id, assign.lease.device_id != first) == (job.job_id, True)


async def test_a_phone_that_keeps_failing_quarantines_itself(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", PHONES[:1]) as agent:
        await submit(farm)
        for _ in range(3):
            await fail(agent, blame=Blame.PHONE)
        held = await device(farm, "R1")
        assert held.status is DeviceStatus.QUARANTINED
        assert held.note == "3 failures in a row by its own fault: it broke"
        await submit(farm, "next")
        await DevicesStub(farm.channel).ReleaseDevice(pb.ReleaseDeviceRequest(device_id="R1"))
        await fail(agent, blame=Blame.PHONE)
        assert (await device(farm, "R1")).status is not DeviceStatus.QUARANTINED


async def test_a_success_starts_the_count_anew(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", PHONES[:1]) as agent:
        for key in ("a", "b"):
            await submit(farm, key)
            for _ in range(2):
                await fail(agent, blame=Blame.PHONE)
            await agent.finish((await agent.expect(Assign)).lease)
            await agent.expect(Ack)
        assert (await device(farm, "R1")).status is DeviceStatus.IDLE


async def test_the_harness_is_held_against_a_device_only_beside_others_that_work(
    make_farm: FarmFactory,
) -> None:
    async with make_farm(max_attempts=100, **CALM) as farm:
        async with SimulatedAgent(farm.address, "alone", PHONES[:1]) as agent:
            await submit(farm, selector="R1")
            for _ in range(7):
                await fail(agent)
            assert (await device(farm, "R1")).status is not DeviceStatus.QUARANTINED
        async with SimulatedAgent(farm.address, "two", PHONES[1:]) as agent:
            await submit(farm, "other", selector="R2")
            for _ in range(5):
                await fail(agent)
            held = await device(farm, "R2")
            assert held.status is DeviceStatus.QUARANTINED
            assert "other devices work: it broke" in held.note


async def test_a_model_that_fells_three_phones_is_stopped_until_it_is_forgiven(
    make_farm: FarmFactory,
) -> None:
    async with (
        make_farm(**CALM) as farm,
        SimulatedAgent(farm.address, "one", [*PHONES, samples.device_info("R4")]) as agent,
    ):
        job, like = await submit(farm), await submit(farm, "like", selector="nobody")
        for _ in range(3):
            await fail(agent, felled=True)
        stopped = await final(farm, job)
        assert stopped.state is JobState.DONE
        measured = farm.store.measurement(stopped.measurement_id)
        assert (measured.outcome, measured.launches) == (Outcome.CRASHED, ())
        assert measured.reason.startswith("took down 3 devices: R")
        assert "not sent to another" in measured.reason
        for phone in PHONES:
            assert (await device(farm, phone.serial)).status is DeviceStatus.IDLE
        assert (await final(farm, like)).state is JobState.DONE
        later = await submit(farm, "later")
        assert (later.state, later.attempts) == (JobState.DONE, 0)
        assert farm.store.measurement(later.measurement_id).outcome is Outcome.CRASHED
    async with make_farm(**CALM) as farm, SimulatedAgent(farm.address, "one", PHONES) as agent:
        assert (await submit(farm, "restarted")).state is JobState.DONE
        digest = later.request.artifact.digest
        forgive = pb.ForgiveModelRequest(artifact_digest=digest)
        assert (await DevicesStub(farm.channel).ForgiveModel(forgive)).fellings == 3
        await submit(farm, "forgiven")
        await agent.finish((await agent.expect(Assign)).lease)
        with pytest.raises(InvalidRequest, match="no digest"), domain_errors(farm.address):
            await DevicesStub(farm.channel).ForgiveModel(pb.ForgiveModelRequest())


async def test_in_a_small_lab_three_times_are_enough(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", PHONES[:2]) as agent:
        job = await submit(farm)
        for _ in range(3):
            await fail(agent, felled=True)
        measured = farm.store.measurement((await final(farm, job)).measurement_id)
        assert measured.reason.startswith("took down 2 devices 3 times: R")


async def test_another_model_runs_on(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", PHONES) as agent:
        await submit(farm)
        for _ in range(3):
            await fail(agent, felled=True)
        assert (await submit(farm, "other", b"another model")).state is JobState.QUEUED
        await agent.expect(Assign)


async def test_what_felled_an_emulated_device_is_marked_so(farm: Farm) -> None:
    stand_ins = [samples.device_info(name, emulated=True) for name in ("E1", "E2", "E3")]
    async with SimulatedAgent(farm.address, "one", stand_ins) as agent:
        job = await submit(farm)
        for _ in stand_ins:
            await fail(agent, felled=True)
        measured = farm.store.measurement((await final(farm, job)).measurement_id)
        assert measured.emulated
        assert "took down 3 emulated devices" in measured.reason
        async with SimulatedAgent(farm.address, "two", PHONES[:1]) as real:
            await submit(farm, "real", selector="agent=two")
            await real.expect(Assign)


async def test_a_felling_that_is_told_twice_counts_once(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", PHONES) as agent:
        await submit(farm)
        lease = (await agent.expect(Assign)).lease
        result = JobResult(lease, error="gone", felled=True)
        await agent.send(result)
        await agent.send(result)
        seen = {type(await agent.expect(object)) for _ in range(3)}
        assert seen == {Ack, Assign}
    (job,) = farm.store.jobs()
    assert len(farm.store.fellings(job.request.artifact.digest)) == 1
