"""Whatever the order of events, a device has one live lease and a job one result."""

import tempfile
from pathlib import Path

import farm_samples as samples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.controller.store.sql import SqlStore
from distillfarm.domain.agent import JobResult
from distillfarm.domain.errors import LeaseLost
from distillfarm.domain.job import Job, JobState, Lease

LEASE_S = 10.0
MAX_ATTEMPTS = 3
AGENTS = ("one", "two")


class Leases(RuleBasedStateMachine):
    """Two agents with two devices each, and everything that can happen between them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = SqlStore(f"sqlite:///{Path(self.folder.name) / 'farm.db'}")
        self.now_s = 0.0
        self.granted: list[Lease] = []
        self.alive: dict[tuple[str, int], Lease] = {}
        self.results: dict[str, str] = {}
        for agent in AGENTS:
            self.attach(agent)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def pick(self, index: int) -> Lease | None:
        return self.granted[index % len(self.granted)] if self.granted else None

    @rule(seconds=st.floats(0.5, 8))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(agent=st.sampled_from(AGENTS))
    def attach(self, agent: str) -> None:
        infos = [samples.device_info("a"), samples.device_info("b")]
        self.store.report_devices(agent, infos, self.now_s)

    @rule(agent=st.sampled_from(AGENTS))
    def detach(self, agent: str) -> None:
        self.store.agent_gone(agent, self.now_s)

    @rule(key=st.integers(0, 5))
    def submit(self, key: int) -> None:
        self.store.submit(samples.request(f"key-{key}"), self.now_s)

    @rule(job=st.integers(0, 5), device=st.integers(0, 3))
    def grant(self, job: int, device: int) -> None:
        jobs, devices = self.store.jobs(), self.store.devices()
        if not jobs:
            return
        pair = (jobs[job % len(jobs)].job_id, devices[device].device_id)
        for lease in self.store.grant([pair], self.now_s, LEASE_S):
            before = [each.token for each in self.granted if each.device_id == lease.device_id]
            assert all(lease.token > token for token in before)
            assert not any(each.device_id == lease.device_id for each in self.alive.values())
            self.granted.append(lease)
            self.alive[lease.device_id, lease.token] = lease

    @rule(index=st.integers(0, 50))
    def renew(self, index: int) -> None:
        if lease := self.pick(index):
            for renewed in self.store.renew([lease], self.now_s, LEASE_S):
                assert (lease.device_id, lease.token) in self.alive
                self.alive[lease.device_id, lease.token] = renewed

    @rule()
    def expire(self) -> None:
        for lease in self.store.expire(self.now_s):
            assert self.alive.pop((lease.device_id, lease.token)).expires_at_s <= self.now_s

    @rule(index=st.integers(0, 50))
    def release(self, index: int) -> None:
        if lease := self.pick(index):
            self.store.release(lease, self.now_s)
            self.alive.pop((lease.device_id, lease.token), None)

    @rule(index=st.integers(0, 50))
    def cancel(self, index: int) -> None:
        if lease := self.pick(index):
            self.store.cancel_job(lease.job_id, self.now_s)
            for key, each in list(self.alive.items()):
                if each.job_id == lease.job_id:
                    del self.alive[key]

    @rule(index=st.integers(0, 50), fault=st.sampled_from(["", "usb", "usb for good"]))
    def finish(self, index: int, fault: str) -> None:
        lease = self.pick(index)
        if lease is None:
            return
        held = (lease.device_id, lease.token) in self.alive
        result = samples.result(lease)
        if fault:
            result = JobResult(lease, error=fault, retryable=fault == "usb")
        before = self.snapshot()
        try:
            job = self.store.finish(result, self.now_s, MAX_ATTEMPTS)
        except LeaseLost:
            assert not held
            assert self.snapshot() == before
            return
        if not held:
            # Only what was taken before is taken again, and then nothing changes.
            assert self.snapshot() == before
            return
        del self.alive[lease.device_id, lease.token]
        if result.measurement:
            assert lease.job_id not in self.results
            self.results[lease.job_id] = result.measurement.measurement_id
            assert job.state is JobState.DONE

    def snapshot(self) -> tuple[list[Job], list[Lease], int]:
        measured = self.store.measurements(MeasurementQuery())
        return self.store.jobs(), self.store.leases(), len(measured)

    @invariant()
    def the_store_agrees(self) -> None:
        leases = self.store.leases()
        assert {(each.device_id, each.token) for each in leases} == set(self.alive)
        assert len({each.device_id for each in leases}) == len(leases)
        assert len({each.job_id for each in leases}) == len(leases)
        jobs = {job.job_id: job for job in self.store.jobs()}
        running = {key for key, job in jobs.items() if job.state is JobState.RUNNING}
        assert running == {each.job_id for each in leases}
        done = {key: job.measurement_id for key, job in jobs.items() if job.state is JobState.DONE}
        assert done == self.results
        measured = self.store.measurements(MeasurementQuery())
        assert {each.job_id: each.measurement_id for each in measured} == self.results
        assert len(measured) == len(self.results)


Leases.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestLeases = Leases.TestCase
