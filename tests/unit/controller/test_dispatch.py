"""Threads get their measurements, also when asked twice, cancelled, or shut down."""

import asyncio
import threading
from collections.abc import Sequence

import farm_samples as samples
import pytest
from controller_farm import Farm, FarmFactory
from simulated_agent import SimulatedAgent

from distillfarm.domain.agent import Abandon, Assign
from distillfarm.domain.errors import AlreadyExists, Cancelled, Unavailable
from distillfarm.domain.job import Job, JobState


class Stopping(BaseException):
    """What a workflow raises to unwind without an outcome."""


def silent(_jobs: Sequence[Job]) -> None:
    """Progress that nobody reads."""


async def test_all_results_come_in_the_order_of_the_requests(farm: Farm) -> None:
    requests = [samples.request(f"key-{number}") for number in range(5)]
    progress: list[list[JobState]] = []

    def measure() -> list[Job]:
        return farm.dispatcher.measure(
            requests,
            on_progress=lambda jobs: progress.append([job.state for job in jobs]),
            cancelled=lambda: False,
        )

    infos = [samples.device_info("a"), samples.device_info("b")]
    async with SimulatedAgent(farm.address, "one", infos, works=True):
        jobs = await asyncio.to_thread(measure)
        again = await asyncio.to_thread(measure)
    assert [job.request for job in jobs] == requests
    assert progress[-1] == [JobState.DONE] * 5
    assert [job.measurement_id for job in again] == [job.measurement_id for job in jobs]
    assert len({job.measurement_id for job in jobs}) == 5


async def test_a_caller_that_died_waits_for_the_same_job(farm: Farm) -> None:
    def give_up_waiting() -> bool:
        raise Stopping

    def measure_and_die() -> None:
        with pytest.raises(Stopping):
            farm.dispatcher.measure(
                [samples.request()], on_progress=silent, cancelled=give_up_waiting
            )

    async with SimulatedAgent(farm.address, "one", [samples.device_info()]) as agent:
        await asyncio.to_thread(measure_and_die)
        assign = await agent.expect(Assign)
        resumed = asyncio.create_task(
            asyncio.to_thread(
                farm.dispatcher.measure,
                [samples.request()],
                on_progress=silent,
                cancelled=lambda: False,
            )
        )
        await agent.finish(assign.lease)
        (job,) = await resumed
    assert (job.job_id, job.state, job.attempts) == (assign.lease.job_id, JobState.DONE, 1)


@pytest.mark.parametrize("raises", [False, True])
async def test_a_cancelled_study_s_jobs_stop(farm: Farm, raises: bool) -> None:
    enough = threading.Event()

    def cancelled() -> bool:
        if raises and enough.is_set():
            raise Cancelled("study-1: cancelled")
        return enough.is_set()

    async with SimulatedAgent(farm.address, "one", [samples.device_info()]) as agent:
        requests = [samples.request("a"), samples.request("b")]
        waiting = asyncio.create_task(
            asyncio.to_thread(
                farm.dispatcher.measure, requests, on_progress=silent, cancelled=cancelled
            )
        )
        await agent.expect(Assign)
        enough.set()
        with pytest.raises(Cancelled):
            await waiting
        await agent.expect(Abandon)
    assert {job.state for job in farm.store.jobs()} == {JobState.CANCELLED}


async def test_a_key_with_another_request_is_refused(farm: Farm) -> None:
    requests = [samples.request(), samples.request(priority=1)]
    with pytest.raises(AlreadyExists):
        await asyncio.to_thread(
            farm.dispatcher.measure, requests, on_progress=silent, cancelled=lambda: False
        )


async def test_a_stopping_controller_lets_its_threads_go(make_farm: FarmFactory) -> None:
    async with make_farm() as farm:
        waiting = asyncio.create_task(
            asyncio.to_thread(
                farm.dispatcher.measure,
                [samples.request()],
                on_progress=silent,
                cancelled=lambda: False,
            )
        )
        while not farm.store.jobs():  # noqa: ASYNC110 - another thread's doing
            await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    with pytest.raises(Unavailable):
        farm.dispatcher.measure([], on_progress=silent, cancelled=lambda: False)
