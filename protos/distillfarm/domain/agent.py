"""An agent and the messages of its session with the controller."""

from dataclasses import dataclass

from distillfarm.domain.errors import Blame
from distillfarm.domain.hardware import DeviceHealth, DeviceInfo
from distillfarm.domain.job import JobRequest, Lease
from distillfarm.domain.measurement import Measurement


@dataclass(frozen=True)
class Hello:
    """The first message of a session: who dials in, what hangs on it, what is under way.

    ``agent_id`` is stable across restarts. ``held`` are the leases whose jobs still run, or whose
    results wait in the spool; the controller answers with an Abandon for each that is lost.
    """

    agent_id: str
    version: str
    devices: tuple[DeviceInfo, ...]
    held: tuple[Lease, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """The devices that are attached now; sent whenever that changes."""

    devices: tuple[DeviceInfo, ...]


@dataclass(frozen=True)
class HealthReport:
    """How devices fare now; those that it does not name are as they were."""

    devices: tuple[DeviceHealth, ...]


@dataclass(frozen=True)
class Heartbeat:
    """The agent lives; renews the leases it names."""

    held: tuple[Lease, ...]


@dataclass(frozen=True)
class JobProgress:
    """How far a running job is: ``fraction`` 0..1 and a short line for people."""

    lease: Lease
    text: str
    fraction: float


@dataclass(frozen=True)
class JobResult:
    """A finished job: the measurement, or the harness's error with whether to retry elsewhere.

    Exactly one of ``measurement`` and ``error`` is set. ``blame`` says whose fault an error is.
    ``felled`` is whether the device went down while the model ran on it, which may be the model's
    doing. Kept in the agent's spool until acked.
    """

    lease: Lease
    measurement: Measurement | None = None
    error: str = ""
    retryable: bool = False
    blame: Blame = Blame.HARNESS
    felled: bool = False


@dataclass(frozen=True)
class Welcome:
    """The controller's answer to Hello: how often to beat, and how long a silent lease lives."""

    heartbeat_s: float
    lease_s: float


@dataclass(frozen=True)
class Assign:
    """Run this job under this lease."""

    lease: Lease
    request: JobRequest


@dataclass(frozen=True)
class Abandon:
    """Stop this job and drop its result: the lease is lost or the job was cancelled."""

    lease: Lease
    reason: str


@dataclass(frozen=True)
class Ack:
    """The result of this lease is safe in the store, or was refused; drop it from the spool."""

    lease: Lease
