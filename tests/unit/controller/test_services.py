"""What callers may ask, who may ask it, and what they are told."""

import asyncio
import urllib.request
from dataclasses import replace
from typing import Any

import farm_samples as samples
import pytest
from controller_farm import Farm, FarmFactory
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from simulated_agent import SimulatedAgent

from distillfarm.domain.agent import Assign, HealthReport, JobResult
from distillfarm.domain.errors import (
    AlreadyExists,
    FarmError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    WrongState,
)
from distillfarm.domain.hardware import DeviceHealth
from distillfarm.domain.ids import derived_id
from distillfarm.domain.job import JobRequest, MeasureSpec, Mode, Rival
from distillfarm.domain.measurement import Comparison, Finding
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.study import Budget, Study, StudySpec, StudyState
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.interceptors import domain_errors
from distillfarm.wire.transport import ClientSecurity, create_channel
from distillfarm.wire.v1 import job_pb2, study_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.hardware_pb2 import DeviceStatus
from distillfarm.wire.v1.services_pb2_grpc import (
    DevicesStub,
    EnrolmentStub,
    JobsStub,
    MatrixStub,
    StudiesStub,
)


def uploaded(farm: Farm) -> StudySpec:
    """A study whose blobs are there."""
    digest = farm.blobs.put_bytes(b"content")
    spec = samples.study_spec()
    model = replace(spec.model, artifact=replace(spec.model.artifact, digest=digest))
    return replace(spec, model=model, data=replace(spec.data, digest=digest))


def creation(spec: StudySpec, key: str = "key") -> pb.CreateStudyRequest:
    return pb.CreateStudyRequest(spec=to_message(spec, study_pb2.StudySpec), idempotency_key=key)


async def submit(farm: Farm, request: JobRequest) -> Message:
    message = pb.SubmitJobRequest(request=to_message(request, job_pb2.JobRequest))
    with domain_errors(farm.address):
        return await JobsStub(farm.channel).SubmitJob(message)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"idempotency_key": " "}, "idempotency key"),
        ({"selector": "colour=red"}, "unknown key 'colour'"),
        ({"selector": "*,colour=red"}, "unknown key 'colour'"),
        ({"selector": "nobody,colour=red"}, "unknown key 'colour'"),
        ({"spec": MeasureSpec(launches=0)}, "launches 0"),
        ({"spec": MeasureSpec(tolerance=float("nan"))}, "tolerance nan"),
        ({"spec": MeasureSpec(launch_timeout_s=1e9)}, "launch_timeout_s"),
        ({"spec": MeasureSpec(inputs_digest="../../etc/passwd")}, "no digest"),
        ({"priority": 10**12}, "priority"),
        ({"spec": MeasureSpec(max_launches=-1)}, "max_launches -1"),
        ({"spec": MeasureSpec(max_launches=2000)}, "max_launches 2000"),
        ({"spec": MeasureSpec(width=0.05)}, "width 0.05 needs launches to choose from"),
        ({"spec": MeasureSpec(budget_s=60)}, "budget_s 60 needs launches to choose from"),
        ({"spec": MeasureSpec(max_launches=40, width=2.0)}, "width 2: must be within 0 and 1.99"),
        ({"spec": MeasureSpec(max_launches=40, budget_s=-1)}, "budget_s -1"),
        ({"spec": MeasureSpec(max_launches=40, tool="benchmark_model")}, "leave out max_launches"),
        ({"spec": MeasureSpec(cooldown_s=-1)}, "cooldown_s -1"),
        ({"spec": MeasureSpec(duration_s=20)}, "duration_s 20: burst launches last"),
        ({"spec": MeasureSpec(mode=Mode.SUSTAINED)}, "sustained: say for how long"),
        ({"spec": MeasureSpec(mode=Mode.SUSTAINED, duration_s=1e6)}, "duration_s 1e"),
        (
            {"spec": MeasureSpec(mode=Mode.SINGLE_STREAM, tool="benchmark_model")},
            "benchmark_model knows no mode single_stream",
        ),
        ({"spec": MeasureSpec(max_warmup=10**6)}, "max_warmup"),
        ({"spec": MeasureSpec(iterations=10**6, launches=60)}, "ask for fewer launches"),
    ],
)
async def test_a_job_that_makes_no_sense_is_refused(
    farm: Farm, wrong: dict[str, object], text: str
) -> None:
    request = samples.request(digest=farm.blobs.put_bytes(b"model"))
    with pytest.raises(InvalidRequest, match=text):
        await submit(farm, replace(request, **wrong))  # type: ignore[arg-type]
    assert farm.store.jobs() == []


async def test_a_rival_is_looked_at_like_the_jobs_own_artifact(farm: Farm) -> None:
    own = samples.request(digest=farm.blobs.put_bytes(b"model"))
    away = samples.request(digest="sha256:" + "9" * 64).artifact
    with pytest.raises(NotFound, match="999 is not here; upload it first"):
        await submit(farm, replace(own, rival=Rival(away, own.target)))
    missing = Rival(own.artifact, own.target, expected_digest="sha256:" + "8" * 64)
    with pytest.raises(NotFound, match="888 is not here"):
        await submit(farm, replace(own, rival=missing))
    with pytest.raises(InvalidRequest, match="tolerance -1"):
        await submit(farm, replace(own, rival=Rival(own.artifact, own.target, tolerance=-1)))
    by_tool = replace(own, spec=MeasureSpec(tool="benchmark_model"))
    with pytest.raises(InvalidRequest, match="leave out the rival, or the tool"):
        await submit(farm, replace(by_tool, rival=Rival(own.artifact, own.target)))
    assert farm.store.jobs() == []


async def test_a_job_with_a_rival_and_a_mode_is_kept_whole(farm: Farm) -> None:
    own = samples.request(digest=farm.blobs.put_bytes(b"model"))
    spec = MeasureSpec(launches=6, max_launches=40, width=0.05, mode=Mode.SUSTAINED, duration_s=60)
    asked = replace(own, spec=spec, rival=Rival(own.artifact, own.target))
    await submit(farm, asked)
    (job,) = farm.store.jobs()
    assert job.request == asked


def measured(farm: Farm, key: str, **more: object) -> str:
    """A measurement that the store took; gives its id."""
    job = farm.store.submit(samples.request(key), 0.0)
    (device, *_) = farm.store.devices() or farm.store.report_devices(
        "agent-1", [samples.device_info()], 0.0
    )
    (lease,) = farm.store.grant([(job.job_id, device.device_id)], 0.0, 30.0)
    raced = samples.raced(lease, [10**6] * 9, [2 * 10**6] * 9)
    taken = replace(raced, **more)  # type: ignore[arg-type]
    farm.store.finish(JobResult(lease, taken), 0.0, 3)
    return taken.measurement_id


async def compare(farm: Farm, first_id: str, second_id: str) -> list[Comparison]:
    request = pb.CompareMeasurementsRequest(first_id=first_id, second_id=second_id)
    with domain_errors(farm.address):
        reply = await JobsStub(farm.channel).CompareMeasurements(request)
    return [from_message(each, Comparison) for each in reply.comparisons]


async def test_a_measurement_with_a_rival_comes_with_their_comparison(farm: Farm) -> None:
    request = pb.GetMeasurementRequest(measurement_id=measured(farm, "key"))
    reply = await JobsStub(farm.channel).GetMeasurement(request)
    found = [from_message(each, Comparison) for each in reply.comparisons]
    assert (found[0].metric, found[0].finding) == ("warm_p50", Finding.SLOWER)
    assert reply.summary.warm_p50_ms.value == pytest.approx(1.0)
    assert reply.rival_summary.warm_p50_ms.value == pytest.approx(2.0)


async def test_measurements_taken_apart_are_compared_or_refused_in_a_line(farm: Farm) -> None:
    slow = tuple(samples.launch(2 * 10**6) for _ in range(9))
    first, second = measured(farm, "one"), measured(farm, "two", launches=slow, rival=None)
    other = measured(farm, "three", spec=MeasureSpec(threads=4))
    found = await compare(farm, first, second)
    assert (found[0].finding, found[0].interleaved) == (Finding.SLOWER, False)
    with pytest.raises(InvalidRequest, match="measured with different threads"):
        await compare(farm, first, other)
    with pytest.raises(NotFound, match="measurement-0"):
        await compare(farm, first, "measurement-0")


async def test_a_job_whose_artifact_is_not_here_is_refused(farm: Farm) -> None:
    with pytest.raises(NotFound, match="upload it first"):
        await submit(farm, samples.request())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"name": ""}, "study name"),
        ({"targets": ()}, "target"),
        ({"launches": 0}, "launches"),
        ({"max_final_launches": 3}, "max_final_launches 3: must be within 9"),
        ({"phones": 0}, "phones 0"),
        ({"budget": Budget(launches=-1)}, "budget launches -1"),
        ({"budget": Budget(device_s=-1)}, "budget device_s -1"),
        ({"budget": Budget(trials_per_target=0)}, "trials_per_target"),
        ({"selector": "a=b"}, "unknown key"),
        ({"recipes": (parse_recipe("shrink"),)}, "there is no pass 'shrink'; use one of"),
        ({"recipes": (parse_recipe("prune(ratio=2)"),)}, "ratio"),
    ],
)
async def test_a_study_that_makes_no_sense_is_refused(
    farm: Farm, wrong: dict[str, object], text: str
) -> None:
    spec = replace(uploaded(farm), **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=text), domain_errors(farm.address):
        await StudiesStub(farm.channel).CreateStudy(creation(spec))


async def test_a_study_whose_student_is_not_here_is_refused(farm: Farm) -> None:
    spec = uploaded(farm)
    spec = replace(spec, model=replace(spec.model, student_digest=samples.DIGEST))
    with pytest.raises(NotFound, match="upload it first"), domain_errors(farm.address):
        await StudiesStub(farm.channel).CreateStudy(creation(spec))


async def test_a_study_is_created_once_watched_and_cancelled(farm: Farm) -> None:
    stub = StudiesStub(farm.channel)
    created = from_message(await stub.CreateStudy(creation(uploaded(farm))), Study)
    again = await stub.CreateStudy(creation(uploaded(farm)))
    assert again.study_id == created.study_id
    assert f"start {created.study_id}" in farm.runner.calls

    watch = stub.WatchStudy(pb.WatchStudyRequest(study_id=created.study_id, after_sequence=1))
    first = await watch.read()
    farm.store.add_event(created.study_id, "measure", "told at once", 2.0)
    second = await watch.read()
    assert isinstance(first, study_pb2.StudyEvent)
    assert isinstance(second, study_pb2.StudyEvent)
    assert (first.sequence, second.sequence, second.text) == (2, 3, "told at once")
    await stub.CancelStudy(pb.CancelStudyRequest(study_id=created.study_id))
    assert not isinstance(await watch.read(), study_pb2.StudyEvent), "the stream goes on"
    listed = await stub.ListStudies(pb.ListStudiesRequest())
    assert [from_message(each, Study).state for each in listed.studies] == [StudyState.CANCELLED]


async def test_what_does_not_exist_is_named(farm: Farm) -> None:
    calls: list[Any] = [
        JobsStub(farm.channel).GetJob(pb.GetJobRequest(job_id="thing-7")),
        JobsStub(farm.channel).CancelJob(pb.CancelJobRequest(job_id="thing-7")),
        DevicesStub(farm.channel).GetDevice(pb.GetDeviceRequest(device_id="thing-7")),
        DevicesStub(farm.channel).DrainDevice(pb.DrainDeviceRequest(device_id="thing-7")),
        StudiesStub(farm.channel).GetStudy(pb.GetStudyRequest(study_id="thing-7")),
        StudiesStub(farm.channel).CancelStudy(pb.CancelStudyRequest(study_id="thing-7")),
    ]
    for call in calls:
        with pytest.raises(NotFound, match="thing-7"), domain_errors(farm.address):
            await call
    streams: list[Any] = [
        JobsStub(farm.channel).WatchJob(pb.WatchJobRequest(job_id="thing-7")),
        StudiesStub(farm.channel).WatchStudy(pb.WatchStudyRequest(study_id="thing-7")),
        StudiesStub(farm.channel).ListTrials(pb.ListTrialsRequest(study_id="thing-7")),
        MatrixStub(farm.channel).QueryMatrix(pb.QueryMatrixRequest(study_id="thing-7")),
    ]
    for stream in streams:
        with pytest.raises(NotFound, match="thing-7"), domain_errors(farm.address):
            await stream.read()


async def test_devices_are_named_labelled_quarantined_and_released_by_any_word(
    farm: Farm,
) -> None:
    devices = DevicesStub(farm.channel)
    infos = [samples.device_info("R58"), samples.device_info("R59")]
    async with SimulatedAgent(farm.address, "one", infos) as agent:
        named = await devices.NameDevice(pb.NameDeviceRequest(device_id="R58", name="left"))
        label = pb.LabelDeviceRequest(device_id="left", labels=["desk-3"])
        labelled = await devices.LabelDevice(label)
        assert (labelled.device_id, list(labelled.labels)) == (named.device_id, ["desk-3"])
        listed = await devices.ListDevices(pb.ListDevicesRequest(selector="name=left"))
        assert [each.device_id for each in listed.devices] == [named.device_id]
        held = await devices.QuarantineDevice(
            pb.QuarantineDeviceRequest(device_id="left", reason="swollen")
        )
        assert (DeviceStatus.Name(held.status), held.note) == (
            "DEVICE_STATUS_QUARANTINED",
            "swollen",
        )
        await submit(farm, replace(samples.request(digest=farm.blobs.put_bytes(b"m"))))
        assert (await agent.expect(Assign)).lease.device_id != named.device_id
        await submit(farm, samples.request("two", digest=farm.blobs.put_bytes(b"m")))
        await devices.ReleaseDevice(pb.ReleaseDeviceRequest(device_id="left"))
        assert (await agent.expect(Assign)).lease.device_id == named.device_id
        for call, error in (
            (devices.NameDevice(pb.NameDeviceRequest(device_id="R59", name="left")), AlreadyExists),
            (devices.NameDevice(pb.NameDeviceRequest(device_id="R59", name="a,b")), InvalidRequest),
            (devices.QuarantineDevice(pb.QuarantineDeviceRequest(device_id="R59")), InvalidRequest),
        ):
            with pytest.raises(error), domain_errors(farm.address):
                await call


async def test_credentials_are_asked_for_and_each_role_has_its_place(
    make_farm: FarmFactory,
) -> None:
    async with make_farm(enrolment_token="lab", user_token="people") as farm:  # noqa: S106
        enrolment = EnrolmentStub(farm.channel)
        with pytest.raises(Unauthenticated), domain_errors(farm.address):
            await DevicesStub(farm.channel).ListDevices(pb.ListDevicesRequest())
        for token in ("", "wrong", "people"):
            with pytest.raises(Unauthenticated), domain_errors(farm.address):
                await enrolment.Enrol(pb.EnrolRequest(token=token, agent_id="one"))
        reply = await enrolment.Enrol(pb.EnrolRequest(token="lab", agent_id="one"))  # noqa: S106
        agent = ClientSecurity(credential=reply.credential)
        with pytest.raises(PermissionDenied, match="one's, not two's"):
            async with SimulatedAgent(farm.address, "two", security=agent):
                pass
        async with SimulatedAgent(farm.address, "one", [samples.device_info()], security=agent):
            people = create_channel(farm.address, ClientSecurity(credential="people"))
            listed = await DevicesStub(people).ListDevices(pb.ListDevicesRequest())
            assert len(listed.devices) == 1
            await people.close(None)
        lab = create_channel(farm.address, agent)
        device_id, stub = listed.devices[0].device_id, DevicesStub(lab)
        for call in (
            stub.DrainDevice(pb.DrainDeviceRequest(device_id=device_id)),
            stub.NameDevice(pb.NameDeviceRequest(device_id=device_id)),
            stub.LabelDevice(pb.LabelDeviceRequest(device_id=device_id)),
            stub.QuarantineDevice(pb.QuarantineDeviceRequest(device_id=device_id, reason="x")),
            stub.ReleaseDevice(pb.ReleaseDeviceRequest(device_id=device_id)),
        ):
            with pytest.raises(PermissionDenied, match="user token"), domain_errors(farm.address):
                await call
        await lab.close(None)


async def test_everybody_is_let_in_only_on_this_machine(make_farm: FarmFactory) -> None:
    with pytest.raises(InvalidRequest, match="enrolment_token"):
        async with make_farm(listen="0.0.0.0:0"):
            pass


async def test_one_controller_a_state_folder(make_farm: FarmFactory) -> None:
    async with make_farm():
        with pytest.raises(WrongState, match="another controller"):
            async with make_farm():
                pass
    async with make_farm():
        pass


async def test_a_taken_address_is_named(make_farm: FarmFactory, farm: Farm) -> None:
    with pytest.raises(FarmError, match=farm.address):
        async with make_farm(listen=farm.address, state_dir=farm.settings.state_dir / "other"):
            pass


async def test_health_and_reflection_answer(farm: Farm) -> None:
    health = health_pb2_grpc.HealthStub(farm.channel)
    for name in ("", "distillfarm.v1.Jobs"):
        reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    call = reflection_pb2_grpc.ServerReflectionStub(farm.channel).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = {each.name for each in (await call.read()).list_services_response.service}
    assert {"distillfarm.v1.Sessions", "distillfarm.v1.Blobs", "grpc.health.v1.Health"} <= listed
    call.cancel()


async def test_metrics_count_devices_and_jobs(make_farm: FarmFactory, unused_port: int) -> None:
    async with (
        make_farm(web_listen=f"127.0.0.1:{unused_port}") as farm,
        SimulatedAgent(farm.address, "one", [samples.device_info()], works=True) as agent,
    ):
        await agent.send(HealthReport((DeviceHealth("phone-1", 1.0, 81.0, throttling=2),)))
        await asyncio.to_thread(
            farm.dispatcher.measure,
            [samples.request()],
            on_progress=lambda _jobs: None,
            cancelled=lambda: False,
        )
        url = f"http://127.0.0.1:{unused_port}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    assert 'distillfarm_devices{status="idle"} 1.0' in page
    assert 'distillfarm_jobs_finished_total{state="done"} 1.0' in page
    assert "distillfarm_queue_wait_seconds_count 1.0" in page
    device_id = derived_id("device", "one", "phone-1")
    assert f'distillfarm_device_battery_percent{{device="{device_id}",name=""}} 81.0' in page
    assert f'distillfarm_device_throttling{{device="{device_id}",name=""}} 2.0' in page
    assert "distillfarm_device_temperature_celsius{" not in page


async def test_the_runner_is_launched_and_shut_down(make_farm: FarmFactory) -> None:
    async with make_farm() as farm:
        assert farm.runner.calls == ["launch"]
    assert farm.runner.calls == ["launch", "shutdown"]
