"""What the store promises; every method is one transaction, synchronous and thread-safe.

Domain objects go in and come out. ``NotFound`` is raised for an unknown id everywhere. All times
are Unix seconds given by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from distillfarm.controller.scheduling.conduct import Ending, Felling
from distillfarm.domain.agent import JobResult
from distillfarm.domain.hardware import Device, DeviceInfo
from distillfarm.domain.job import Job, JobRequest, JobState, Lease
from distillfarm.domain.measurement import Measurement
from distillfarm.domain.study import Study, StudyEvent, StudySpec, Trial


@dataclass(frozen=True)
class MeasurementQuery:
    """Filters over measurements; an empty field means any."""

    artifact_digest: str = ""
    device_id: str = ""
    study_id: str = ""
    newer_than_s: float = 0.0


class Store(Protocol):
    """Devices, jobs with their leases, measurements, studies, credentials."""

    # Devices
    def report_devices(
        self, agent_id: str, infos: Sequence[DeviceInfo], now_s: float
    ) -> list[Device]:
        """Make ``infos`` the agent's devices: new ones appear, missing ones go OFFLINE."""

    def agent_gone(self, agent_id: str, now_s: float) -> list[Device]:
        """Mark the agent's devices OFFLINE and give them; its leases live until they expire."""

    def devices(self, selector: str = "*") -> list[Device]:
        """Devices in order of id; BUSY is derived from live leases."""

    def device(self, device_id: str) -> Device:
        """One device."""

    def set_drained(self, device_id: str, drained: bool, note: str = "") -> Device:
        """Drain or undrain; idempotent."""

    def set_quarantined(
        self, device_id: str, quarantined: bool, reason: str = "", *, keep: bool = False
    ) -> Device:
        """Quarantine or release, whether it is drained or not; idempotent.

        With ``keep`` one that is quarantined already keeps its reason. What was held against a
        device is forgiven when it is released.
        """

    def set_name(self, device_id: str, name: str) -> Device:
        """Name a device; an empty name takes it away.

        Raises:
            AlreadyExists: another device has the name, or it is another's id.
        """

    def set_labels(self, device_id: str, labels: Sequence[str]) -> Device:
        """Replace the labels."""

    # Jobs
    def submit(self, request: JobRequest, now_s: float) -> Job:
        """Queue a job; the same key and request give the existing job.

        Raises:
            AlreadyExists: the key is known with another request.
        """

    def job(self, job_id: str) -> Job:
        """One job."""

    def jobs(self, states: Sequence[JobState] = (), study_id: str = "") -> list[Job]:
        """Jobs by state and study, in order of submission."""

    def cancel_job(self, job_id: str, now_s: float) -> Job:
        """Make a job CANCELLED and end its lease; a final job is left as it is."""

    def fail_job(self, job_id: str, error: str, now_s: float) -> Job:
        """Give a QUEUED job up for the harness's fault."""

    # Leases
    def grant(self, pairs: Sequence[tuple[str, str]], now_s: float, lease_s: float) -> list[Lease]:
        """Lease to each job its device, given as (job id, device id).

        A lease's token is larger than any before on the device. A pair whose job is not QUEUED, or
        whose device is not IDLE, is left out of the answer.
        """

    def renew(self, leases: Sequence[Lease], now_s: float, lease_s: float) -> list[Lease]:
        """Extend leases; those missing from the answer are lost, since they were ended.

        A lease past its time that was not swept yet is as good as new: nobody else had the device.
        """

    def leases(self) -> list[Lease]:
        """Leases that are neither ended nor expired and swept."""

    def expire(self, now_s: float) -> list[Lease]:
        """End leases past their time and queue their jobs again; gives the ended ones."""

    def release(self, lease: Lease, now_s: float) -> Job:
        """End a lease without a result and queue its job again; no-op when it is lost already."""

    def finish(self, result: JobResult, now_s: float, max_attempts: int) -> Job:
        """Take a result: store the measurement, end the lease, settle the job, all or nothing.

        A retryable error queues the job again until ``max_attempts`` leases were granted; the
        device is then one on which it failed. The same result again is a no-op.

        Raises:
            LeaseLost: the token is not the device's newest, or the lease was ended.
        """

    def endings(self, device_id: str, most: int) -> list[Ending]:
        """How the newest jobs ended on a device since it was last released, the newest first.

        Leases that were lost or cancelled tell nothing, nor do errors that a model is to blame for.
        """

    # Models that take devices down
    def add_felling(self, lease: Lease, now_s: float) -> None:
        """Note that the device went down under a live lease; idempotent, a no-op for a lost one."""

    def fellings(self, artifact_digest: str) -> list[Felling]:
        """The devices that an artifact took down, the oldest first."""

    def forgive(self, artifact_digest: str) -> int:
        """Forget the fellings of an artifact; gives how many there were."""

    def answer(self, job_id: str, measurement: Measurement) -> Job:
        """Make a QUEUED job DONE without a device.

        Raises:
            WrongState: the job does not wait.
        """

    # Measurements
    def measurement(self, measurement_id: str) -> Measurement:
        """One measurement."""

    def measurements(self, query: MeasurementQuery) -> list[Measurement]:
        """Measurements, newest first."""

    # Studies
    def create_study(self, study_id: str, spec: StudySpec, now_s: float) -> Study:
        """Create a study; the same id and spec give the existing one.

        Raises:
            AlreadyExists: the id is known with another spec.
        """

    def study(self, study_id: str) -> Study:
        """One study."""

    def studies(self) -> list[Study]:
        """All studies, newest first."""

    def put_study(self, study: Study) -> None:
        """Replace a study's record; one that would leave a final state is ignored."""

    def put_trial(self, trial: Trial) -> None:
        """Insert or replace a trial by its id."""

    def trials(self, study_id: str) -> list[Trial]:
        """A study's trials in order of insertion."""

    def add_event(
        self,
        study_id: str,
        stage: str,
        text: str,
        now_s: float,
        *,
        done: int = 0,
        total: int = 0,
        left_s: float = -1.0,
    ) -> StudyEvent:
        """Append an event with the next sequence number."""

    def events(self, study_id: str, after_sequence: int = 0) -> list[StudyEvent]:
        """Events after a sequence number, in order."""

    # Credentials
    def add_credential(self, secret_digest: str, subject: str, role: str, now_s: float) -> None:
        """Remember a credential by the digest of its secret; ``role`` is agent, worker or user."""

    def credential(self, secret_digest: str) -> tuple[str, str] | None:
        """(subject, role) of a credential, or None."""
