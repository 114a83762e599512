"""One job from its submission to its end."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from distillfarm.domain.errors import Cancelled, FarmError, Unavailable
from distillfarm.domain.hardware import Runtime
from distillfarm.domain.job import Job, JobRequest, JobState
from distillfarm.domain.model import ModelFormat

FORMATS = {
    Runtime.ONNXRUNTIME: ModelFormat.ONNX,
    Runtime.LITERT: ModelFormat.TFLITE,
    Runtime.COREML: ModelFormat.COREML,
    Runtime.EXECUTORCH: ModelFormat.EXECUTORCH,
    Runtime.COREAI: ModelFormat.COREAI,
}
"""What each runtime executes."""

_CANCEL_WITHIN_S = 5.0


class Jobs(Protocol):
    """The calls that running a job needs; ``Client`` has them."""

    async def submit(self, request: JobRequest) -> Job:
        """Queue a job."""

    def watch_job(self, job_id: str) -> AsyncGenerator[Job, None]:
        """The job at every change until it is final."""

    async def cancel_job(self, job_id: str) -> Job:
        """Cancel it."""


async def run_job(
    jobs: Jobs, request: JobRequest, on_progress: Callable[[Job], None] | None
) -> Job:
    """Submit a job and wait until it is done; cancelling this cancels the job.

    Raises:
        Unavailable: the farm could not run the job; the text says why.
        Cancelled: somebody cancelled the job.
    """
    job = await jobs.submit(request)
    try:
        async with aclosing(jobs.watch_job(job.job_id)) as changes:
            async for change in changes:
                job = change
                if on_progress is not None:
                    on_progress(job)
    except BaseException:
        # Whatever ends the wait, nobody wants the result any more.
        await asyncio.shield(_cancel(jobs, job.job_id))
        raise
    if job.state is JobState.CANCELLED:
        raise Cancelled(f"{job.job_id} was cancelled")
    if job.state is JobState.FAILED:
        raise Unavailable(f"{job.job_id} could not be run: {job.error}")
    return job


async def _cancel(jobs: Jobs, job_id: str) -> None:
    try:
        async with asyncio.timeout(_CANCEL_WITHIN_S):
            await jobs.cancel_job(job_id)
    except (FarmError, TimeoutError):
        return  # The controller is away; the job's own limits end it.
