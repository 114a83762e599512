"""The calls of single measurements, and of comparing two."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from distillfarm.client.comparing import Compared
from distillfarm.client.connection import Connection
from distillfarm.client.files import FileCalls
from distillfarm.client.measuring import FORMATS, run_job
from distillfarm.domain.errors import NotFound
from distillfarm.domain.hardware import Target
from distillfarm.domain.ids import fresh_id
from distillfarm.domain.job import Job, JobRequest, MeasureSpec, Rival
from distillfarm.domain.measurement import Comparison, Measurement, Summary
from distillfarm.domain.model import ArtifactRef
from distillfarm.wire.convert import from_message, to_message
from distillfarm.wire.v1 import job_pb2, measurement_pb2
from distillfarm.wire.v1 import services_pb2 as pb
from distillfarm.wire.v1 import services_pb2_grpc as services


class JobCalls(FileCalls):
    """Jobs, from a file to their result."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._jobs = services.JobsStub(connection.channel)

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
        known = await self.size_of(model)
        if known is None:
            raise NotFound(f"artifact {model} is not at the controller; give its file")
        return ArtifactRef(model, known, FORMATS[target.runtime], "")


def _summary(reply: pb.GetMeasurementReply) -> Summary | None:
    return from_message(reply.summary, Summary) if reply.HasField("summary") else None


def _comparisons(found: Iterable[measurement_pb2.Comparison]) -> tuple[Comparison, ...]:
    return tuple(from_message(each, Comparison) for each in found)
