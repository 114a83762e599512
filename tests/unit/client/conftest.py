"""A controller of a few lines on the real server core, which can be stopped and started again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import farm_samples
import grpc
import pytest

from distillfarm.domain.errors import FarmError, NotFound
from distillfarm.domain.hardware import Device, DeviceStatus
from distillfarm.domain.job import Job, JobRequest, JobState, Lease
from distillfarm.domain.measurement import Comparison, Measurement
from distillfarm.domain.study import MatrixCell, Study, StudyEvent, StudySpec, StudyState, Trial
from distillfarm.wire.blobs import LocalBlobs, service
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.transport import create_server
from distillfarm.wire.v1 import (
    hardware_pb2,
    job_pb2,
    measurement_pb2,
    study_pb2,
)
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1 import services_pb2_grpc as services


class Lab(
    services.DevicesServicer,
    services.JobsServicer,
    services.StudiesServicer,
    services.MatrixServicer,
    services.BlobsServicer,
):
    """Its state outlives its server, as a controller's database does."""

    def __init__(self, folder: Path) -> None:
        self.blobs = LocalBlobs(folder)
        self.device = Device("d1", "a1", farm_samples.device_info(), DeviceStatus.IDLE, 0.0)
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, str] = {}
        self.studies: dict[str, Study] = {}
        self.events: list[StudyEvent] = []
        self.trials: list[Trial] = []
        self.cells: list[MatrixCell] = []
        self.taken: Measurement | None = None
        self.shown: tuple[Comparison, ...] = ()
        self.failures: list[FarmError] = []
        self.calls: Counter[str] = Counter()
        self.changed = asyncio.Event()
        self.watched = asyncio.Event()
        self.address = "127.0.0.1:0"
        self._server: grpc.aio.Server | None = None

    async def start(self, **settings: Any) -> None:
        """Listen, again at the same address after the first time."""
        self._server, self.address = create_server(self.address, **settings)
        services.add_DevicesServicer_to_server(self, self._server)
        services.add_JobsServicer_to_server(self, self._server)
        services.add_StudiesServicer_to_server(self, self._server)
        services.add_MatrixServicer_to_server(self, self._server)
        services.add_BlobsServicer_to_server(self, self._server)
        await self._server.start()

    async def stop(self) -> None:
        """End every call and stop listening."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def change(self, job_id: str, state: JobState, **fields: Any) -> None:
        """Move a job on; its watchers see it."""
        self.jobs[job_id] = replace(self.jobs[job_id], state=state, **fields)
        self.notify()

    def add_events(self, study_id: str, *texts: str) -> None:
        """Add to a study's progress; its watchers see it."""
        for text in texts:
            self.events.append(StudyEvent(study_id, len(self.events) + 1, 0.0, "measure", text))
        self.notify()

    def end_study(self, study_id: str) -> None:
        """Make a study final."""
        self.studies[study_id] = replace(self.studies[study_id], state=StudyState.DONE)
        self.notify()

    def notify(self) -> None:
        """Wake the watchers."""
        self.changed.set()
        self.changed = asyncio.Event()

    def _called(self, name: str) -> None:
        self.calls[name] += 1
        if self.failures:
            raise self.failures.pop(0)

    def _job(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise NotFound(f"job {job_id}")
        return self.jobs[job_id]

    async def ListDevices(
        self, request: pb.ListDevicesRequest, context: Any
    ) -> pb.ListDevicesReply:
        self._called("ListDevices")
        return pb.ListDevicesReply(devices=[to_message(self.device, hardware_pb2.Device)])

    async def GetDevice(self, request: pb.GetDeviceRequest, context: Any) -> hardware_pb2.Device:
        if request.device_id != self.device.device_id:
            raise NotFound(f"device {request.device_id}; see: distillfarm devices list")
        return to_message(self.device, hardware_pb2.Device)

    async def DrainDevice(
        self, request: pb.DrainDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        self.device = replace(self.device, status=DeviceStatus.DRAINED, note=request.note)
        return to_message(self.device, hardware_pb2.Device)

    async def UndrainDevice(
        self, request: pb.UndrainDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        self.device = replace(self.device, status=DeviceStatus.IDLE, note="")
        return to_message(self.device, hardware_pb2.Device)

    async def QuarantineDevice(
        self, request: pb.QuarantineDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        self.device = replace(self.device, status=DeviceStatus.QUARANTINED, note=request.reason)
        return to_message(self.device, hardware_pb2.Device)

    async def ReleaseDevice(
        self, request: pb.ReleaseDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        self.device = replace(self.device, status=DeviceStatus.IDLE, note="")
        return to_message(self.device, hardware_pb2.Device)

    async def NameDevice(self, request: pb.NameDeviceRequest, context: Any) -> hardware_pb2.Device:
        self.device = replace(self.device, name=request.name)
        return to_message(self.device, hardware_pb2.Device)

    async def LabelDevice(
        self, request: pb.LabelDeviceRequest, context: Any
    ) -> hardware_pb2.Device:
        self.device = replace(self.device, labels=tuple(request.labels))
        return to_message(self.device, hardware_pb2.Device)

    async def ForgiveModel(
        self, request: pb.ForgiveModelRequest, context: Any
    ) -> pb.ForgiveModelReply:
        return pb.ForgiveModelReply(fellings=3 if request.artifact_digest else 0)

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Any) -> job_pb2.Job:
        wanted = from_message(request.request, JobRequest)
        job_id = self.keys.setdefault(wanted.idempotency_key, f"job-{len(self.keys) + 1}")
        self.jobs.setdefault(job_id, Job(job_id, wanted, JobState.QUEUED, 0.0))
        self._called("SubmitJob")
        return to_message(self.jobs[job_id], job_pb2.Job)

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> job_pb2.Job:
        return to_message(self._job(request.job_id), job_pb2.Job)

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Any
    ) -> AsyncIterator[job_pb2.Job]:
        self._called("WatchJob")
        while True:
            changed, job = self.changed, self._job(request.job_id)
            yield to_message(job, job_pb2.Job)
            if job.state.final:
                return
            self.watched.set()
            await changed.wait()

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> job_pb2.Job:
        self.change(self._job(request.job_id).job_id, JobState.CANCELLED)
        return to_message(self.jobs[request.job_id], job_pb2.Job)

    async def GetMeasurement(
        self, request: pb.GetMeasurementRequest, context: Any
    ) -> pb.GetMeasurementReply:
        lease = Lease("job-1", "d1", "a1", int(request.measurement_id), 0.0)
        taken = self.taken or farm_samples.measurement(lease)
        found = to_message(taken, measurement_pb2.Measurement)
        shown = [to_message(each, measurement_pb2.Comparison) for each in self.shown]
        return pb.GetMeasurementReply(measurement=found, comparisons=shown)

    async def CompareMeasurements(
        self, request: pb.CompareMeasurementsRequest, context: Any
    ) -> pb.CompareMeasurementsReply:
        self._called(f"CompareMeasurements {request.first_id} {request.second_id}")
        shown = [to_message(each, measurement_pb2.Comparison) for each in self.shown]
        return pb.CompareMeasurementsReply(comparisons=shown)

    async def CreateStudy(self, request: pb.CreateStudyRequest, context: Any) -> study_pb2.Study:
        spec = from_message(request.spec, StudySpec)
        study_id = self.keys.setdefault(request.idempotency_key, f"study-{len(self.keys) + 1}")
        self.studies.setdefault(study_id, Study(study_id, spec, StudyState.RUNNING, 1.0))
        self._called("CreateStudy")
        return to_message(self.studies[study_id], study_pb2.Study)

    async def GetStudy(self, request: pb.GetStudyRequest, context: Any) -> study_pb2.Study:
        if request.study_id not in self.studies:
            raise NotFound(f"study {request.study_id}")
        return to_message(self.studies[request.study_id], study_pb2.Study)

    async def ListStudies(
        self, request: pb.ListStudiesRequest, context: Any
    ) -> pb.ListStudiesReply:
        found = [to_message(each, study_pb2.Study) for each in self.studies.values()]
        return pb.ListStudiesReply(studies=found)

    async def CancelStudy(self, request: pb.CancelStudyRequest, context: Any) -> study_pb2.Study:
        cancelled = replace(self.studies[request.study_id], state=StudyState.CANCELLED)
        self.studies[request.study_id] = cancelled
        return to_message(cancelled, study_pb2.Study)

    async def WatchStudy(
        self, request: pb.WatchStudyRequest, context: Any
    ) -> AsyncIterator[study_pb2.StudyEvent]:
        self._called(f"WatchStudy after {request.after_sequence}")
        sequence = request.after_sequence
        while True:
            changed = self.changed
            for event in self.events[sequence:]:
                sequence = event.sequence
                yield to_message(event, study_pb2.StudyEvent)
            if self.studies[request.study_id].state.final:
                return
            self.watched.set()
            await changed.wait()

    async def ListTrials(
        self, request: pb.ListTrialsRequest, context: Any
    ) -> AsyncIterator[study_pb2.Trial]:
        for trial in self.trials:
            yield to_message(trial, study_pb2.Trial)
            self._called("ListTrials")

    async def QueryMatrix(
        self, request: pb.QueryMatrixRequest, context: Any
    ) -> AsyncIterator[study_pb2.MatrixCell]:
        for cell in self.cells:
            if request.chipset in ("", cell.chipset):
                yield to_message(cell, study_pb2.MatrixCell)

    async def StatBlob(self, request: pb.StatBlobRequest, context: Any) -> pb.BlobStat:
        return await service.stat(self.blobs, request)

    async def UploadBlob(
        self, request_iterator: AsyncIterator[pb.BlobChunk], context: Any
    ) -> pb.BlobStat:
        return await service.receive(self.blobs, request_iterator)

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, context: Any
    ) -> AsyncIterator[pb.BlobChunk]:
        async for chunk in service.send(self.blobs, request):
            yield chunk


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Any]:
    """A lab whose controller runs."""
    lab = Lab(tmp_path / "blobs")
    await lab.start()
    yield lab
    await lab.stop()
