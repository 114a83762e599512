"""The controller's calls as methods: devices, files, measurements, studies, the matrix."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from distillfarm.client.comparing import Compared
from distillfarm.client.connection import Connection
from distillfarm.client.measuring import FORMATS, run_job
from distillfarm.domain.errors import NotFound
from distillfarm.domain.hardware import Device, Target
from distillfarm.domain.ids import fresh_id
from distillfarm.domain.job import Job, JobRequest, MeasureSpec, Rival
from distillfarm.domain.measurement import Comparison, Measurement, Summary
from distillfarm.domain.model import ArtifactRef
from distillfarm.domain.study import MatrixCell, Study, StudyEvent, StudySpec, Trial
from distillfarm.wire.blobs import LocalBlobs, download_blob, upload_blob
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.transport import ClientSecurity, create_channel
from distillfarm.wire.v1 import job_pb2, measurement_pb2, study_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1 import services_pb2_grpc as services


class Client:
    """Everything that the command line does, from Python; made by ``Client.connect``.

    ::

        async with Client.connect() as client:
            measurement, summary = await client.measure(Path("model.onnx"), target)

    Every call raises the error that the controller raised, of the same class. Calls are repeated
    after retryable errors: all are safe to repeat, since what creates something carries an
    idempotency key. Watching goes on over a restart of the controller.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        channel = connection.channel
        self._devices = services.DevicesStub(channel)
        self._jobs = services.JobsStub(channel)
        self._studies = services.StudiesStub(channel)
        self._matrix = services.MatrixStub(channel)
        self._blobs = services.BlobsStub(channel)

    @classmethod
    def connect(
        cls,
        address: str = "127.0.0.1:7543",
        token: str = "",
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        *,
        call_patience_s: float = 3.0,
        watch_patience_s: float = 120.0,
    ) -> Self:
        """A client for ``async with``, made in a running loop; the first call shows who answers.

        ``token`` is a credential; ``ca`` turns TLS on, ``certificate`` and ``key`` mTLS.

        Raises:
            InvalidRequest: a malformed address, unusable TLS files, or a token without TLS to
                another machine.
        """
        channel = create_channel(address, ClientSecurity(ca, certificate, key, token))
        return cls(Connection(address, channel, call_patience_s, watch_patience_s))

    async def __aenter__(self) -> Self:
        """Nothing: the channel connects at the first call."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._connection.channel.close(None)

    # Devices

    async def devices(self, selector: str = "*") -> list[Device]:
        """The devices that ``selector`` means, see ``domain.hardware.matches``."""
        request = pb.ListDevicesRequest(selector=selector)
        reply = await self._connection.reply(self._devices.ListDevices, request)
        return [from_message(each, Device) for each in reply.devices]

    async def device(self, device_id: str) -> Device:
        """One device by its id, its name or its serial, as every call on a device takes it."""
        request = pb.GetDeviceRequest(device_id=device_id)
        return await self._connection.value(self._devices.GetDevice, request, Device)

    async def drain(self, device_id: str, note: str = "") -> Device:
        """Let what runs there finish and give it nothing more."""
        request = pb.DrainDeviceRequest(device_id=device_id, note=note)
        return await self._connection.value(self._devices.DrainDevice, request, Device)

    async def undrain(self, device_id: str) -> Device:
        """Give it work again."""
        request = pb.UndrainDeviceRequest(device_id=device_id)
        return await self._connection.value(self._devices.UndrainDevice, request, Device)

    async def quarantine(self, device_id: str, reason: str) -> Device:
        """Hold it for unfit until it is released; what runs there may finish."""
        request = pb.QuarantineDeviceRequest(device_id=device_id, reason=reason)
        return await self._connection.value(self._devices.QuarantineDevice, request, Device)

    async def release(self, device_id: str) -> Device:
        """End a quarantine; a drained device stays drained."""
        request = pb.ReleaseDeviceRequest(device_id=device_id)
        return await self._connection.value(self._devices.ReleaseDevice, request, Device)

    async def name_device(self, device_id: str, name: str) -> Device:
        """Give it a name that no other device has; an empty one takes it away."""
        request = pb.NameDeviceRequest(device_id=device_id, name=name)
        return await self._connection.value(self._devices.NameDevice, request, Device)

    async def label_device(self, device_id: str, labels: Sequence[str]) -> Device:
        """Replace its labels."""
        request = pb.LabelDeviceRequest(device_id=device_id, labels=labels)
        return await self._connection.value(self._devices.LabelDevice, request, Device)

    async def forgive(self, artifact_digest: str) -> int:
        """Let a model that took devices down be run again; gives how many that were."""
        request = pb.ForgiveModelRequest(artifact_digest=artifact_digest)
        return (await self._connection.reply(self._devices.ForgiveModel, request)).fellings

    # Files

    async def upload(self, path: Path) -> tuple[str, int]:
        """Send a file unless the controller has it; gives digest and bytes."""
        link = self._connection
        digest = await upload_blob(link.channel, path, link.address, link.call_patience_s)
        return digest, (await asyncio.to_thread(path.stat)).st_size

    async def download(self, digest: str, path: Path) -> None:
        """Fetch a file, verified, to ``path``, which appears when it is whole."""
        link = self._connection
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=path.parent) as folder:
            store = LocalBlobs(Path(folder))
            await download_blob(link.channel, digest, store, link.address, link.call_patience_s)
            store.path(digest).chmod(0o644)
            store.path(digest).replace(path)

    # Single measurements

    async def submit(self, request: JobRequest) -> Job:
        """Queue a job; a request without an idempotency key is given one."""
        key = request.idempotency_key or fresh_id("key")
        keyed = to_message(replace(request, idempotency_key=key), job_pb2.JobRequest)
        message = pb.SubmitJobRequest(request=keyed)
        return await self._connection.value(self._jobs.SubmitJob, message, Job)

    async def job(self, job_id: str) -> Job:
        """One job."""
        request = pb.GetJobRequest(job_id=job_id)
        return await self._connection.value(self._jobs.GetJob, request, Job)

    async def cancel_job(self, job_id: str) -> Job:
        """Cancel a job; a final one is left as it is."""
        request = pb.CancelJobRequest(job_id=job_id)
        return await self._connection.value(self._jobs.CancelJob, request, Job)

    async def watch_job(self, job_id: str) -> AsyncGenerator[Job, None]:
        """The job now and at every change, until it is final."""
        request = pb.WatchJobRequest(job_id=job_id)
        last: Job | None = None

        async def finished() -> bool:
            return last is not None and last.state.final

        jobs = self._connection.follow(self._jobs.WatchJob, lambda: request, Job, finished)
        async with aclosing(jobs):
            async for job in jobs:
                if job != last:
                    last = job
                    yield job
                if job.state.final:
                    return

    async def measurement(self, measurement_id: str) -> tuple[Measurement, Summary | None]:
        """A measurement with its summary, which is None where there are no numbers to compare.

        That is unless the outcome is OK, on an emulated device, and where a maker's tool measured.
        """
        request = pb.GetMeasurementRequest(measurement_id=measurement_id)
        reply = await self._connection.reply(self._jobs.GetMeasurement, request)
        return from_message(reply.measurement, Measurement), _summary(reply)

    async def measure(
        self,
        path: Path,
        target: Target,
        selector: str = "*",
        spec: MeasureSpec = MeasureSpec(),  # noqa: B008 - frozen
        on_progress: Callable[[Job], None] | None = None,
    ) -> tuple[Measurement, Summary | None]:
        """Upload a model file and measure it on a device that ``selector`` means.

        Cancelling this cancels the job.

        Raises:
            Unavailable: the farm could not run the job; the text says why.
            Cancelled: somebody cancelled the job.
        """
        digest, size = await self.upload(path)
        artifact = ArtifactRef(digest, size, FORMATS[target.runtime], path.name)
        request = JobRequest("", artifact, target, selector, spec)
        return await self.measurement((await run_job(self, request, on_progress)).measurement_id)

    # Comparisons

    async def compare(
        self,
        first: Path | str,
        second: Path | str,
        target: Target,
        selector: str = "*",
        spec: MeasureSpec = MeasureSpec(),  # noqa: B008 - frozen
        *,
        second_target: Target | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Compared:
        """Measure two artifacts on one device, launched in turn, and compare them.

        Each is a model file, or the digest of one that the controller has. Both are given the
        spec's inputs and held to its expected outputs. Cancelling this cancels the job.

        Raises:
            NotFound: a digest that the controller does not have.
            Unavailable: the farm could not run the job; the text says why.
            Cancelled: somebody cancelled the job.
        """
        other = second_target or target
        rival = Rival(
            await self._artifact(second, other),
            other,
            spec.inputs_digest,
            spec.expected_digest,
            spec.tolerance,
        )
        own = await self._artifact(first, target)
        request = JobRequest("", own, target, selector, spec, rival=rival)
        return await self.comparison((await run_job(self, request, on_progress)).measurement_id)

    async def comparison(self, measurement_id: str) -> Compared:
        """A measurement whose job had a rival, with what shows of the two."""
        request = pb.GetMeasurementRequest(measurement_id=measurement_id)
        reply = await self._connection.reply(self._jobs.GetMeasurement, request)
        rival = reply.rival_summary if reply.HasField("rival_summary") else None
        return Compared(
            first=from_message(reply.measurement, Measurement),
            first_summary=_summary(reply),
            second=None,
            second_summary=from_message(rival, Summary) if rival else None,
            comparisons=_comparisons(reply.comparisons),
        )

    async def compare_measurements(self, first_id: str, second_id: str) -> Compared:
        """Two measurements that were taken apart, with what shows of the two.

        Raises:
            NotFound: there is no such measurement.
            InvalidRequest: they cannot be compared; the text says in what they differ.
        """
        request = pb.CompareMeasurementsRequest(first_id=first_id, second_id=second_id)
        reply = await self._connection.reply(self._jobs.CompareMeasurements, request)
        first, second = await self.measurement(first_id), await self.measurement(second_id)
        return Compared(*first, *second, _comparisons(reply.comparisons))

    async def _artifact(self, model: Path | str, target: Target) -> ArtifactRef:
        if isinstance(model, Path):
            digest, size = await self.upload(model)
            return ArtifactRef(digest, size, FORMATS[target.runtime], model.name)
        stat = await self._connection.reply(self._blobs.StatBlob, pb.StatBlobRequest(digest=model))
        if not stat.complete:
            raise NotFound(f"artifact {model} is not at the controller; give its file")
        return ArtifactRef(model, stat.size_bytes, FORMATS[target.runtime], "")

    # Studies

    async def create_study(self, spec: StudySpec, idempotency_key: str = "") -> Study:
        """Begin a study; the same key and spec give the existing one."""
        request = pb.CreateStudyRequest(
            spec=to_message(spec, study_pb2.StudySpec),
            idempotency_key=idempotency_key or fresh_id("key"),
        )
        return await self._connection.value(self._studies.CreateStudy, request, Study)

    async def study(self, study_id: str) -> Study:
        """One study with what came out of it so far."""
        request = pb.GetStudyRequest(study_id=study_id)
        return await self._connection.value(self._studies.GetStudy, request, Study)

    async def studies(self) -> list[Study]:
        """All studies, newest first."""
        request = pb.ListStudiesRequest()
        reply = await self._connection.reply(self._studies.ListStudies, request)
        return [from_message(each, Study) for each in reply.studies]

    async def cancel_study(self, study_id: str) -> Study:
        """Cancel a study; a final one is left as it is."""
        request = pb.CancelStudyRequest(study_id=study_id)
        return await self._connection.value(self._studies.CancelStudy, request, Study)

    async def watch_study(
        self, study_id: str, after_sequence: int = 0
    ) -> AsyncGenerator[StudyEvent, None]:
        """Every event after a sequence number, each once, until the study is final."""
        last = after_sequence

        def request() -> pb.WatchStudyRequest:
            return pb.WatchStudyRequest(study_id=study_id, after_sequence=last)

        async def finished() -> bool:
            return (await self.study(study_id)).state.final

        watch = self._studies.WatchStudy
        events = self._connection.follow(watch, request, StudyEvent, finished)
        async with aclosing(events):
            async for event in events:
                last = event.sequence
                yield event

    async def trials(self, study_id: str) -> list[Trial]:
        """A study's trials in the order of their creation."""
        request = pb.ListTrialsRequest(study_id=study_id)
        return await self._connection.all(self._studies.ListTrials, request, Trial)

    # The matrix

    async def matrix(
        self, study_id: str = "", chipset: str = "", model_name: str = ""
    ) -> list[MatrixCell]:
        """What ran where, and how well; each argument is a filter, empty means all."""
        request = pb.QueryMatrixRequest(study_id=study_id, chipset=chipset, model_name=model_name)
        return await self._connection.all(self._matrix.QueryMatrix, request, MatrixCell)


def _summary(reply: pb.GetMeasurementReply) -> Summary | None:
    return from_message(reply.summary, Summary) if reply.HasField("summary") else None


def _comparisons(found: Iterable[measurement_pb2.Comparison]) -> tuple[Comparison, ...]:
    return tuple(from_message(each, Comparison) for each in found)
