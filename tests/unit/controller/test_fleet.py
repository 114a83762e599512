"""Agents come, go and die; every job ends with one result, and no phone serves two masters."""

import asyncio
from dataclasses import replace
from typing import Any

import farm_samples as samples
import pytest
from controller_farm import Farm, FarmFactory
from simulated_agent import SimulatedAgent

from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.domain.agent import (
    Abandon,
    Ack,
    Assign,
    Heartbeat,
    Inventory,
    JobProgress,
    JobResult,
)
from distillfarm.domain.errors import FarmError, InvalidRequest, Unavailable, WrongState
from distillfarm.domain.job import Job, JobState
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.v1 import job_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import DevicesStub, JobsStub

PHONE = samples.device_info()


async def submit(farm: Farm, key: str = "key-1", **changes: object) -> Job:
    request = samples.request(key, digest=farm.blobs.put_bytes(b"model"))
    request = replace(request, **changes)  # type: ignore[arg-type]
    message = to_message(request, job_pb2.JobRequest)
    reply = await JobsStub(farm.channel).SubmitJob(pb.SubmitJobRequest(request=message))
    return from_message(reply, Job)


async def read(watch: Any) -> job_pb2.Job:
    message = await watch.read()
    assert isinstance(message, job_pb2.Job), "the stream ended"
    return message


async def get(farm: Farm, job: Job) -> Job:
    reply = await JobsStub(farm.channel).GetJob(pb.GetJobRequest(job_id=job.job_id))
    return from_message(reply, Job)


async def until(farm: Farm, job: Job, state: JobState) -> Job:
    """The job in that state; fails after some seconds."""
    async with asyncio.timeout(20):
        call = JobsStub(farm.channel).WatchJob(pb.WatchJobRequest(job_id=job.job_id))
        async for message in call:
            seen = from_message(message, Job)
            if seen.state is state:
                call.cancel()
                return seen
    raise AssertionError(f"{job.job_id} never became {state}")


async def statuses(farm: Farm) -> dict[str, str]:
    reply = await DevicesStub(farm.channel).ListDevices(pb.ListDevicesRequest())
    names = {1: "idle", 2: "busy", 3: "drained", 4: "offline"}
    return {device.agent_id: names[device.status] for device in reply.devices}


async def until_status(farm: Farm, agent_id: str, status: str) -> None:
    for _ in range(1000):
        if (await statuses(farm)).get(agent_id) == status:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{agent_id}'s device never became {status}")


async def test_a_job_runs_on_a_device_and_its_result_is_kept(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        watch = JobsStub(farm.channel).WatchJob(pb.WatchJobRequest(job_id=job.job_id))
        assign = await agent.expect(Assign)
        assert assign.request.artifact == job.request.artifact
        await agent.send(JobProgress(assign.lease, "launch 2 of 5", 0.4))
        seen = [job]
        while seen[-1].progress != "launch 2 of 5":
            seen.append(from_message(await read(watch), Job))
        assert (seen[-1].state, seen[-1].fraction) == (JobState.RUNNING, 0.4)
        await agent.finish(assign.lease)
        assert (await agent.expect(Ack)).lease.job_id == job.job_id
        while not seen[-1].state.final:
            seen.append(from_message(await read(watch), Job))
        assert seen[-1].state is JobState.DONE
        measurement = await JobsStub(farm.channel).GetMeasurement(
            pb.GetMeasurementRequest(measurement_id=seen[-1].measurement_id)
        )
        assert measurement.summary.warm_p50_ms.value == pytest.approx(1.0)
        assert await statuses(farm) == {"one": "idle"}


async def test_a_lease_expires_when_its_agent_goes_silent(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE], beats=False) as silent:
        job = await submit(farm)
        lost = await silent.expect(Assign)
        async with SimulatedAgent(farm.address, "two", [PHONE]) as other:
            again = await other.expect(Assign)
            assert again.lease.job_id == job.job_id
            assert isinstance(await silent.expect(Exception), Unavailable)
            assert (await statuses(farm))["one"] == "offline"
            # The phone was only out of reach, and its result comes after all: too late.
            async with SimulatedAgent(farm.address, "one", [PHONE], held=[lost.lease]) as back:
                assert (await back.expect(Abandon)).lease == lost.lease
                await back.finish(lost.lease)
                await back.expect(Ack)
                assert (await get(farm, job)).state is JobState.RUNNING
                await other.finish(again.lease)
                done = await until(farm, job, JobState.DONE)
    assert done.attempts == 2
    (measured,) = farm.store.measurements(MeasurementQuery())
    assert (measured.device_id, done.measurement_id) == (
        again.lease.device_id,
        measured.measurement_id,
    )


async def test_heartbeats_keep_a_long_job_s_lease(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        assign = await agent.expect(Assign)
        await asyncio.sleep(3 * farm.settings.lease_s)
        await agent.finish(assign.lease)
        assert (await until(farm, job, JobState.DONE)).attempts == 1


async def test_a_cut_connection_does_not_cost_the_job(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        assign = await agent.expect(Assign)
    await until_status(farm, "one", "offline")
    async with SimulatedAgent(farm.address, "one", [PHONE], held=[assign.lease]) as agent:
        assert await statuses(farm) == {"one": "busy"}
        await agent.finish(assign.lease)
        assert (await until(farm, job, JobState.DONE)).attempts == 1


async def test_an_agent_that_comes_back_empty_handed_gets_the_job_again(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        first = await agent.expect(Assign)
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        second = await agent.expect(Assign)
        assert second.lease.job_id == job.job_id
        assert second.lease.token > first.lease.token


async def test_a_second_session_of_an_agent_replaces_the_first(farm: Farm) -> None:
    async with (
        SimulatedAgent(farm.address, "one", [PHONE]) as old,
        SimulatedAgent(farm.address, "one", [PHONE]) as new,
    ):
        assert isinstance(await old.expect(Exception), WrongState)
        await submit(farm)
        await new.expect(Assign)
        assert await statuses(farm) == {"one": "busy"}


async def test_what_is_plugged_in_later_is_given_work(farm: Farm) -> None:
    job = await submit(farm, selector="phone-1")
    async with SimulatedAgent(farm.address, "one") as agent:
        assert "no device matches 'phone-1' yet" in (await get(farm, job)).progress
        await agent.send(Inventory((PHONE,)))
        await agent.expect(Assign)
        await agent.send(Inventory(()))
        await until_status(farm, "one", "offline")


async def test_a_controller_that_died_and_came_back_takes_the_result_once(
    make_farm: FarmFactory,
) -> None:
    async with make_farm() as farm, SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        running = await submit(farm, "running")
        waiting = await submit(farm, "waiting")
        assign = await agent.expect(Assign)
    await asyncio.sleep(farm.settings.lease_s)  # longer away than the lease lives
    async with make_farm() as farm:
        assert await statuses(farm) == {"one": "offline"}
        async with SimulatedAgent(farm.address, "one", [PHONE], held=[assign.lease]) as agent:
            await agent.finish(assign.lease)
            await agent.expect(Ack)
            await agent.finish(assign.lease)  # the first Ack might have been lost
            second = await agent.expect(Assign)
            assert second.lease.job_id == waiting.job_id
            await agent.expect(Ack)
            assert (await get(farm, running)).attempts == 1
    assert len(farm.store.measurements(MeasurementQuery())) == 1


async def test_a_restarted_controller_frees_what_nobody_claims(make_farm: FarmFactory) -> None:
    async with make_farm() as farm, SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        await agent.expect(Assign)
    async with (
        make_farm() as farm,
        SimulatedAgent(farm.address, "two", [PHONE]) as other,
    ):
        assert (await other.expect(Assign)).lease.job_id == job.job_id


async def test_a_drained_device_finishes_its_job_and_gets_nothing_more(farm: Farm) -> None:
    devices = DevicesStub(farm.channel)
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        await submit(farm, "first")
        assign = await agent.expect(Assign)
        device_id = assign.lease.device_id
        await devices.DrainDevice(pb.DrainDeviceRequest(device_id=device_id, note="swollen"))
        await agent.finish(assign.lease)
        await agent.expect(Ack)
        second = await submit(farm, "second")
        await asyncio.sleep(0.2)
        waiting = await get(farm, second)
        assert (waiting.state, agent.inbox.empty()) == (JobState.QUEUED, True)
        assert "1 drained" in waiting.progress
        device = await devices.GetDevice(pb.GetDeviceRequest(device_id=device_id))
        assert device.note == "swollen"
        await devices.UndrainDevice(pb.UndrainDeviceRequest(device_id=device_id))
        assert (await agent.expect(Assign)).lease.job_id == second.job_id


async def test_cancelling_stops_the_agent_and_frees_the_device(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        assign = await agent.expect(Assign)
        await JobsStub(farm.channel).CancelJob(pb.CancelJobRequest(job_id=job.job_id))
        assert (await agent.expect(Abandon)).lease == assign.lease
        assert (await get(farm, job)).state is JobState.CANCELLED
        await agent.finish(assign.lease)
        await agent.expect(Ack)
        assert farm.store.measurements(MeasurementQuery()) == []
        other = await submit(farm, "other")
        assert (await agent.expect(Assign)).lease.job_id == other.job_id


async def test_the_harness_s_fault_is_tried_again_elsewhere_then_given_up(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        for _ in range(farm.settings.max_attempts):
            assign = await agent.expect(Assign)
            await agent.send(JobResult(assign.lease, error="adb: offline", retryable=True))
            await agent.expect(Ack)
        failed = await until(farm, job, JobState.FAILED)
        assert failed.error == "adb: offline"


async def test_a_job_that_ends_its_agents_is_given_up(farm: Farm) -> None:
    job = await submit(farm)
    for _ in range(farm.settings.max_attempts):
        async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
            await agent.expect(Assign)
    async with SimulatedAgent(farm.address, "one", [PHONE]):
        failed = await until(farm, job, JobState.FAILED)
    assert "lost 3 times" in failed.error


async def test_a_job_that_no_device_can_run_fails_with_the_reason(farm: Farm) -> None:
    stubborn = samples.device_info(refusal="needs Android 12")
    async with SimulatedAgent(farm.address, "one", [stubborn]):
        failed = await until(farm, await submit(farm), JobState.FAILED)
    assert "phone-1 (Pixel 7): needs Android 12" in failed.error


async def test_patience_with_an_absent_device_ends(make_farm: FarmFactory) -> None:
    async with make_farm(patience_s=0.3) as farm:
        failed = await until(farm, await submit(farm, selector="nobody"), JobState.FAILED)
    assert "no device matches 'nobody'" in failed.error


async def test_an_emulator_s_measurement_is_marked_whatever_the_agent_says(farm: Farm) -> None:
    emulator = samples.device_info(emulated=True)
    async with SimulatedAgent(farm.address, "one", [emulator], works=True):
        done = await until(farm, await submit(farm), JobState.DONE)
    assert farm.store.measurement(done.measurement_id).emulated


async def test_an_unusable_result_fails_the_job_and_is_acknowledged(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        job = await submit(farm)
        assign = await agent.expect(Assign)
        strange = replace(samples.measurement(assign.lease), job_id="job-of-another")
        await agent.send(JobResult(assign.lease, strange))
        await agent.expect(Ack)
        assert "unusable" in (await until(farm, job, JobState.FAILED)).error


async def test_an_agent_cannot_speak_for_another_s_device(farm: Farm) -> None:
    async with (
        SimulatedAgent(farm.address, "one", [PHONE]) as owner,
        SimulatedAgent(farm.address, "two") as other,
    ):
        job = await submit(farm)
        assign = await owner.expect(Assign)
        await other.finish(assign.lease)
        await other.expect(Ack)
        assert (await get(farm, job)).state is JobState.RUNNING


async def test_a_result_for_a_device_nobody_knows_is_acknowledged(farm: Farm) -> None:
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        await submit(farm)
        assign = await agent.expect(Assign)
        await agent.finish(replace(assign.lease, device_id="device-of-old"))
        await agent.expect(Ack)


async def test_a_session_begins_with_hello_and_has_one(farm: Farm) -> None:
    with pytest.raises(InvalidRequest, match="agent id"):
        async with SimulatedAgent(farm.address, "  "):
            pass
    async with SimulatedAgent(farm.address, "one") as agent:
        agent._hello = replace(agent._hello, agent_id="two")
        await agent.send(agent._hello)
        error = await agent.expect(Exception)
        assert isinstance(error, FarmError)
        assert "one Hello" in str(error)
    stranger = SimulatedAgent(farm.address, "one")
    stranger._hello = Heartbeat(())  # type: ignore[assignment]
    with pytest.raises(InvalidRequest, match="not with Heartbeat"):
        await stranger.__aenter__()


async def test_a_client_that_hangs_up_does_not_lose_its_job(farm: Farm) -> None:
    request = samples.request(digest=farm.blobs.put_bytes(b"model"))
    message = pb.SubmitJobRequest(request=to_message(request, job_pb2.JobRequest))
    async with SimulatedAgent(farm.address, "one", [PHONE]) as agent:
        for attempt in range(20):
            call = JobsStub(farm.channel).SubmitJob(message)
            # Before it is answered, but not before it has arrived: that takes what it takes.
            await asyncio.sleep(0.001 * 1.3**attempt)
            call.cancel()
            if farm.store.jobs():
                break
        assert farm.store.jobs()
        await agent.expect(Assign)
