"""The Jobs service."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from distillfarm.controller.enrolment import only_users
from distillfarm.controller.fleet import Fleet
from distillfarm.controller.readings import compare, reading
from distillfarm.controller.requests import check_job
from distillfarm.controller.store.protocol import Store
from distillfarm.domain.job import JobRequest
from distillfarm.domain.measurement import Comparison, Summary
from distillfarm.wire.blobs import BlobStore
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.v1 import job_pb2, measurement_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1.services_pb2_grpc import JobsServicer


class Jobs(JobsServicer):
    """See services.proto."""

    def __init__(self, fleet: Fleet, store: Store, blobs: BlobStore) -> None:
        self._fleet = fleet
        self._store = store
        self._blobs = blobs

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Any) -> job_pb2.Job:
        only_users()
        wanted = from_message(request.request, JobRequest)
        await asyncio.to_thread(check_job, wanted, self._blobs)
        return to_message(await self._fleet.submit(wanted), job_pb2.Job)

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> job_pb2.Job:
        return to_message(await self._fleet.job(request.job_id), job_pb2.Job)

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Any
    ) -> AsyncIterator[job_pb2.Job]:
        async for job in self._fleet.watch(request.job_id):
            yield to_message(job, job_pb2.Job)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> job_pb2.Job:
        only_users()
        return to_message(await self._fleet.cancel_job(request.job_id), job_pb2.Job)

    async def GetMeasurement(
        self, request: pb.GetMeasurementRequest, context: Any
    ) -> pb.GetMeasurementReply:
        found = await asyncio.to_thread(reading, self._store, request.measurement_id)
        return pb.GetMeasurementReply(
            measurement=to_message(found.measurement, measurement_pb2.Measurement),
            summary=_summary(found.summary),
            comparisons=_comparisons(found.comparisons),
            rival_summary=_summary(found.rival_summary),
        )

    async def CompareMeasurements(
        self, request: pb.CompareMeasurementsRequest, context: Any
    ) -> pb.CompareMeasurementsReply:
        ids = request.first_id, request.second_id
        found = await asyncio.to_thread(compare, self._store, *ids)
        return pb.CompareMeasurementsReply(comparisons=_comparisons(found))


def _summary(summary: Summary | None) -> measurement_pb2.Summary | None:
    return to_message(summary, measurement_pb2.Summary) if summary else None


def _comparisons(found: Sequence[Comparison]) -> list[measurement_pb2.Comparison]:
    return [to_message(each, measurement_pb2.Comparison) for each in found]
