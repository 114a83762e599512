"""The client offers every call, raises domain errors, repeats what is safe and follows restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import farm_samples
import made_trials
import pytest

from distillfarm.client import Client
from distillfarm.domain.errors import (
    Cancelled,
    DigestMismatch,
    InvalidRequest,
    NoCapacity,
    NotFound,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from distillfarm.domain.hardware import DeviceStatus
from distillfarm.domain.ids import digest_bytes
from distillfarm.domain.interval import Interval
from distillfarm.domain.job import Job, JobState, Lease, MeasureSpec
from distillfarm.domain.measurement import Comparison, Finding, Outcome
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.study import MatrixCell, StudyState


@pytest.fixture
async def client(lab: Any) -> AsyncIterator[Client]:
    async with Client.connect(lab.address, watch_patience_s=10.0) as client:
        yield client


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights" * 1000)
    return path


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 10)
    event.clear()


async def test_devices_are_listed_drained_and_undrained(client: Client) -> None:
    (listed,) = await client.devices()
    assert listed == await client.device("d1")
    assert listed.info == farm_samples.device_info()
    drained = await client.drain("d1", "screen broken")
    assert (drained.status, drained.note) == (DeviceStatus.DRAINED, "screen broken")
    assert (await client.undrain("d1")).status is DeviceStatus.IDLE


async def test_devices_are_named_labelled_quarantined_and_released(client: Client) -> None:
    assert (await client.name_device("d1", "left")).name == "left"
    assert (await client.label_device("d1", ["desk-3", "wired"])).labels == ("desk-3", "wired")
    held = await client.quarantine("d1", "swollen")
    assert (held.status, held.note) == (DeviceStatus.QUARANTINED, "swollen")
    assert (await client.release("d1")).status is DeviceStatus.IDLE
    assert await client.forgive(farm_samples.DIGEST) == 3


async def test_an_unknown_device_raises_what_the_controller_raised(client: Client) -> None:
    with pytest.raises(NotFound, match="device d9; see: distillfarm devices list"):
        await client.device("d9")


async def test_files_go_there_and_come_back(
    lab: Any, client: Client, model: Path, tmp_path: Path
) -> None:
    data = b"weights" * 1000
    assert await client.upload(model) == (digest_bytes(data), len(data))
    copy = tmp_path / "folder" / "copy"
    await client.download(digest_bytes(data), copy)
    assert content(copy) == data
    await client.download(digest_bytes(data), copy)
    assert files_in(copy.parent) == [copy]


async def test_a_download_that_fails_leaves_nothing(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await client.download(farm_samples.DIGEST, tmp_path / "folder" / "copy")
    assert files_in(tmp_path / "folder") == []


def content(path: Path) -> bytes:
    path.write_bytes(path.read_bytes())  # It is the user's now, not read-only.
    return path.read_bytes()


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_what_can_succeed_the_next_time_is_repeated(lab: Any, client: Client) -> None:
    lab.failures = [NoCapacity("queue full"), Unavailable("restarting")]
    assert len(await client.devices()) == 1
    assert lab.calls["ListDevices"] == 3


async def test_a_mistake_is_not_repeated(lab: Any, client: Client) -> None:
    lab.failures = [WrongState("no"), WrongState("no")]
    with pytest.raises(WrongState):
        await client.devices()
    assert lab.calls["ListDevices"] == 1


async def test_a_submission_that_is_repeated_makes_one_job(lab: Any, client: Client) -> None:
    lab.failures = [Unavailable("the answer was lost"), Unavailable("again")]
    job = await client.submit(farm_samples.request(""))
    assert lab.calls["SubmitJob"] == 3
    assert list(lab.jobs) == [job.job_id]
    assert job.request.idempotency_key
    other = await client.submit(farm_samples.request(""))
    assert other.job_id != job.job_id


async def test_the_callers_own_key_is_kept(lab: Any, client: Client) -> None:
    first = await client.submit(farm_samples.request("mine"))
    assert first == await client.submit(farm_samples.request("mine"))
    assert list(lab.keys) == ["mine"]
    study = await client.create_study(farm_samples.study_spec(), "my-study")
    assert study == await client.create_study(farm_samples.study_spec(), "my-study")


async def test_a_study_that_is_repeated_is_one_study(lab: Any, client: Client) -> None:
    lab.failures = [Unavailable("the answer was lost")]
    study = await client.create_study(farm_samples.study_spec())
    assert await client.studies() == [study]
    assert (await client.cancel_study(study.study_id)).state is StudyState.CANCELLED
    assert (await client.study(study.study_id)).state is StudyState.CANCELLED


async def test_nobody_listening_is_told_soon_with_address_and_remedy() -> None:
    async with Client.connect("127.0.0.1:1", call_patience_s=0.2) as client:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
            await client.devices()


async def test_a_controller_that_comes_back_is_found_again(lab: Any, client: Client) -> None:
    await client.devices()
    await lab.stop()
    call = asyncio.create_task(client.devices())
    await asyncio.sleep(0.3)
    await lab.start()
    assert len(await call) == 1


async def test_a_token_is_sent_and_checked(lab: Any) -> None:
    await lab.stop()
    await lab.start(authenticate={"right": ("me", "user")}.get)
    async with Client.connect(lab.address, "right") as client:
        assert len(await client.devices()) == 1
    async with Client.connect(lab.address, "wrong") as client:
        with pytest.raises(Unauthenticated, match="unknown or was revoked"):
            await client.devices()
    async with Client.connect(lab.address) as client:
        with pytest.raises(Unauthenticated, match="needs a credential"):
            await client.devices()
    with pytest.raises(InvalidRequest, match="refusing to send a credential"):
        Client.connect("lab.example:7543", "right")


async def test_a_job_is_watched_to_its_end(lab: Any, client: Client) -> None:
    job = await client.submit(farm_samples.request())

    async def watch() -> list[tuple[JobState, str]]:
        return [(each.state, each.progress) async for each in client.watch_job(job.job_id)]

    watching = asyncio.create_task(watch())
    await soon(lab.watched)
    lab.change(job.job_id, JobState.RUNNING, progress="launch 1 of 3")
    await soon(lab.watched)
    lab.change(job.job_id, JobState.DONE, measurement_id="7")
    assert await asyncio.wait_for(watching, 10) == [
        (JobState.QUEUED, ""),
        (JobState.RUNNING, "launch 1 of 3"),
        (JobState.DONE, "launch 1 of 3"),
    ]


async def test_watching_a_job_goes_on_over_a_restart(lab: Any, client: Client) -> None:
    job = await client.submit(farm_samples.request())

    async def watch() -> list[JobState]:
        return [each.state async for each in client.watch_job(job.job_id)]

    watching = asyncio.create_task(watch())
    await soon(lab.watched)
    for _ in range(2):
        await lab.stop()
        await asyncio.sleep(0.3)
        await lab.start()
        await soon(lab.watched)
    await lab.stop()
    lab.change(job.job_id, JobState.DONE, measurement_id="7")
    await lab.start()
    assert await asyncio.wait_for(watching, 10) == [JobState.QUEUED, JobState.DONE]
    assert lab.calls["WatchJob"] == 4


async def test_watching_an_unknown_job_is_an_error_not_a_wait(client: Client) -> None:
    with pytest.raises(NotFound):
        await anext(client.watch_job("job-9"))


async def test_watching_gives_up_when_nobody_comes_back(lab: Any) -> None:
    async with Client.connect(lab.address, watch_patience_s=0.5) as client:
        job = await client.submit(farm_samples.request())
        async with aclosing(client.watch_job(job.job_id)) as changes:
            assert (await anext(changes)).state is JobState.QUEUED
            await lab.stop()
            with pytest.raises(Unavailable, match="cannot be reached"):
                await asyncio.wait_for(anext(changes), 10)


async def test_a_study_is_watched_over_restarts_without_loss_or_repetition(
    lab: Any, client: Client
) -> None:
    study = (await client.create_study(farm_samples.study_spec())).study_id

    async def watch() -> list[str]:
        return [each.text async for each in client.watch_study(study)]

    lab.add_events(study, "a", "b")
    watching = asyncio.create_task(watch())
    await soon(lab.watched)
    await lab.stop()
    lab.add_events(study, "c")
    await lab.start()
    await soon(lab.watched)
    lab.add_events(study, "d", "e")
    await lab.stop()
    await lab.start()
    await soon(lab.watched)
    lab.add_events(study, "f")
    lab.end_study(study)
    assert await asyncio.wait_for(watching, 10) == ["a", "b", "c", "d", "e", "f"]
    assert lab.calls["WatchStudy after 2"] == 1


async def test_a_study_is_watched_from_where_the_caller_left_off(lab: Any, client: Client) -> None:
    study = (await client.create_study(farm_samples.study_spec())).study_id
    lab.add_events(study, "a", "b", "c")
    lab.end_study(study)
    assert [event.sequence async for event in client.watch_study(study, 2)] == [3]
    assert [event.sequence async for event in client.watch_study(study, 3)] == []


async def test_a_stream_that_ends_too_early_is_taken_up_again(lab: Any, client: Client) -> None:
    study = (await client.create_study(farm_samples.study_spec())).study_id
    lab.add_events(study, "a")
    lab.failures = [Unavailable("stopping"), DigestMismatch("no")]
    with pytest.raises(DigestMismatch):
        await anext(client.watch_study(study))
    assert lab.calls["WatchStudy after 0"] == 2


async def test_a_model_is_measured_from_file_to_result(
    lab: Any, client: Client, model: Path
) -> None:
    seen: list[Job] = []
    measuring = asyncio.create_task(
        client.measure(model, farm_samples.ONNX, "id=d1", on_progress=seen.append)
    )
    await soon(lab.watched)
    (job,) = lab.jobs.values()
    assert job.request.selector == "id=d1"
    assert job.request.artifact.format is ModelFormat.ONNX
    assert job.request.artifact.name == "model.onnx"
    assert lab.blobs.size(job.request.artifact.digest) == job.request.artifact.size_bytes
    lab.change(job.job_id, JobState.DONE, measurement_id="7")
    measurement, summary = await asyncio.wait_for(measuring, 10)
    assert measurement.measurement_id == "measurement-d1-7"
    assert summary is None
    assert [change.state for change in seen] == [JobState.QUEUED, JobState.DONE]


@pytest.mark.parametrize(
    ("state", "raised"), [(JobState.FAILED, Unavailable), (JobState.CANCELLED, Cancelled)]
)
async def test_a_job_that_did_not_run_is_an_error(
    lab: Any, client: Client, model: Path, state: JobState, raised: type[Exception]
) -> None:
    measuring = asyncio.create_task(client.measure(model, farm_samples.ONNX))
    await soon(lab.watched)
    lab.change("job-1", state, error="no device stayed")
    with pytest.raises(raised, match="job-1"):
        await asyncio.wait_for(measuring, 10)


async def test_cancelling_a_measurement_cancels_its_job(
    lab: Any, client: Client, model: Path
) -> None:
    measuring = asyncio.create_task(client.measure(model, farm_samples.ONNX))
    await soon(lab.watched)
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert lab.jobs["job-1"].state is JobState.CANCELLED


async def test_an_error_while_showing_progress_cancels_the_job(
    lab: Any, client: Client, model: Path
) -> None:
    def show(job: Job) -> None:
        raise ValueError("no terminal")

    with pytest.raises(ValueError, match="no terminal"):
        await client.measure(model, farm_samples.ONNX, on_progress=show)
    assert lab.jobs["job-1"].state is JobState.CANCELLED


FASTER = Comparison(
    "warm_p50", Finding.FASTER, Interval(0.8, 0.7, 0.9), 12, interleaved=True, minimum_effect=0.15
)


async def test_two_models_are_one_job_and_both_sides_come_back(
    lab: Any, client: Client, model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(b"another model")
    spec = MeasureSpec(launches=12, inputs_digest=farm_samples.DIGEST, tolerance=0.1)
    comparing = asyncio.create_task(
        client.compare(
            model, other, farm_samples.ONNX, "id=d1", spec, second_target=farm_samples.LITERT
        )
    )
    await soon(lab.watched)
    (job,) = lab.jobs.values()
    rival = job.request.rival
    assert (job.request.artifact.name, job.request.target) == ("model.onnx", farm_samples.ONNX)
    assert (rival.artifact.name, rival.target) == ("other.tflite", farm_samples.LITERT)
    assert rival.artifact.format is ModelFormat.TFLITE
    assert (rival.inputs_digest, rival.tolerance) == (farm_samples.DIGEST, 0.1)
    lease = Lease("job-1", "d1", "a1", 7, 0.0)
    lab.taken = farm_samples.raced(lease, [10, 11], [8, 9], farm_samples.LITERT)
    lab.shown = (FASTER,)
    lab.change(job.job_id, JobState.DONE, measurement_id="7")
    compared = await asyncio.wait_for(comparing, 10)
    assert compared.comparisons == (FASTER,)
    assert compared.second is None
    assert [each.target for each in compared.sides] == [farm_samples.ONNX, farm_samples.LITERT]
    assert [each.launches[0].samples_ns[0] for each in compared.sides] == [10, 8]


async def test_a_digest_stands_for_a_file_that_the_controller_has(
    lab: Any, client: Client, model: Path
) -> None:
    digest, size = await client.upload(model)
    comparing = asyncio.create_task(client.compare(digest, digest, farm_samples.ONNX))
    await soon(lab.watched)
    (job,) = lab.jobs.values()
    assert (job.request.artifact.digest, job.request.artifact.size_bytes) == (digest, size)
    comparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await comparing
    with pytest.raises(NotFound, match="give its file"):
        await client.compare(farm_samples.DIGEST, digest, farm_samples.ONNX)


async def test_measurements_are_compared_by_the_controller(lab: Any, client: Client) -> None:
    lab.shown = (FASTER,)
    compared = await client.compare_measurements("3", "4")
    assert lab.calls["CompareMeasurements 3 4"] == 1
    assert compared.comparisons == (FASTER,)
    assert compared.second is not None
    ids = [compared.first.measurement_id, compared.second.measurement_id]
    assert ids == ["measurement-d1-3", "measurement-d1-4"]
    assert [each.outcome for each in compared.sides] == [Outcome.OK, Outcome.OK]


async def test_trials_are_whole_even_when_their_stream_is_cut(lab: Any, client: Client) -> None:
    lab.trials = [made_trials.make_trial("int8_static"), made_trials.make_trial("fp16")]
    lab.failures = [Unavailable("cut in the middle")]
    assert await client.trials("study-1") == lab.trials
    assert lab.calls["ListTrials"] == 3


async def test_the_matrix_is_filtered_by_the_controller(lab: Any, client: Client) -> None:
    lab.cells = [
        MatrixCell("study-1", "m", "original", farm_samples.ONNX, chipset, "", "", "ok", "", 0.0, 1)
        for chipset in ("Tensor G2", "A17")
    ]
    assert await client.matrix() == lab.cells
    assert await client.matrix(chipset="A17") == lab.cells[1:]
