"""The seams of the agent: what a driver, a runner and a meter promise.

Order of calls for one job: the driver is entered, ``Runner.prepare`` once; for every launch the
gates are checked, then ``Runner.launch``; ``Runner.clean`` always, the driver is left. Cancelling
any of these coroutines stops the work on the device before the cancellation is delivered.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from distillfarm.domain.hardware import DeviceHealth, DeviceInfo, Target
from distillfarm.domain.job import JobRequest
from distillfarm.domain.measurement import Energy, Launch, Outcome, Series, ToolRun


@dataclass(frozen=True)
class Exit:
    """How a process on the device ended; ``code`` is negative for a signal.

    ``reason`` is empty when it ended by itself, else the limit for which it was ended.
    """

    code: int
    out_of_memory: bool
    timed_out: bool
    stderr_tail: str
    reason: str = ""


class AppRun(Protocol):
    """A process that was started on the device."""

    @property
    def pid(self) -> int:
        """The process id on the device."""

    @property
    def clock_offset_s(self) -> float | None:
        """By how much the agent's monotonic clock is ahead of the device's.

        None where it is not known: then nothing can be said about when something happened there.
        """

    def lines(self) -> AsyncIterator[str]:
        """Its standard output, a line at a time, until it ends; bounded in length and count."""

    async def wait(self) -> Exit:
        """Wait for the end; safe to call twice."""

    async def kill(self) -> None:
        """End it and everything that it started; returns once all are gone; idempotent."""


class DeviceDriver(Protocol):
    """One physical device. There is no ``shell``: iPhones have none.

    Every call has a deadline of its own and raises ``DeviceTimeout`` when it passes,
    ``DeviceOffline`` when the device is gone.
    """

    async def __aenter__(self) -> Self:
        """Connect and prepare the device for measuring."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Call ``reset`` and disconnect."""

    async def probe(self) -> DeviceInfo:
        """Find out what the device is and, with a tiny model, what runs on it."""

    async def push(self, source: Path, name: str) -> str:
        """Put a file on the device; gives its path there. The same content is sent once."""

    async def pull(self, remote: str, destination: Path) -> None:
        """Fetch a file from the device."""

    async def launch(
        self,
        app: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> AppRun:
        """Start the named runner program in a fresh process, to be killed after ``timeout_s``."""

    async def context(self) -> Mapping[str, str]:
        """Facts about the device's state now: temperature, load, clocks, battery."""

    async def reset(self) -> None:
        """Restore what was changed, end what still runs; idempotent."""


@dataclass(frozen=True)
class Window:
    """A stretch of the agent's monotonic clock in which ``inferences`` were made, and no more."""

    begin_s: float
    end_s: float
    inferences: int


@dataclass(frozen=True)
class Launched:
    """A launch that ran to its end; ``window`` is None where clocks cannot be compared."""

    launch: Launch
    window: Window | None = None


@dataclass(frozen=True)
class ToolRan:
    """A runtime maker's tool that ran to its end."""

    run: ToolRun


@dataclass(frozen=True)
class LaunchFailure:
    """A launch that is data, not an error: why there is no good result.

    ``launch`` is set for INCORRECT, where the model ran to its end and answered wrongly.
    """

    outcome: Outcome
    reason: str
    launch: Launch | None = None


@dataclass(frozen=True)
class Prepared:
    """What ``Runner.prepare`` put on the device: paths there, by role."""

    model: str
    inputs: str = ""
    expected: str = ""


class Runner(Protocol):
    """How one runtime executes an artifact on a device."""

    def refusal(self, info: DeviceInfo, target: Target) -> str | None:
        """Why this target cannot run there, or None; cheap and without I/O."""

    async def prepare(
        self, driver: DeviceDriver, request: JobRequest, files: Mapping[str, Path]
    ) -> Prepared:
        """Put the model and fixed inputs on the device; ``files`` are local blobs by digest."""

    async def launch(
        self, driver: DeviceDriver, request: JobRequest, prepared: Prepared
    ) -> Launched | ToolRan | LaunchFailure:
        """Run one launch to its end.

        Raises:
            FarmError: the harness's or the caller's fault, such as inputs of another model.
        """

    async def clean(self, driver: DeviceDriver, prepared: Prepared) -> None:
        """Remove what prepare left, except the cache; always called, idempotent."""


@dataclass(frozen=True)
class NotMeasured:
    """Why a meter has nothing to say."""

    quantity: str
    reason: str


class Meter(Protocol):
    """One instrument that watches a job."""

    @property
    def quantity(self) -> str:
        """``energy``, ``temperature`` and so on."""

    async def start(self, driver: DeviceDriver) -> None:
        """Begin to sample; never raises for a missing instrument."""

    async def stop(self) -> Series | NotMeasured:
        """End and give everything; safe without a start."""


class Gate(Protocol):
    """A condition that must hold before a launch."""

    @property
    def name(self) -> str:
        """Short, for logs and the measurement's context."""

    @property
    def required(self) -> bool:
        """Whether no number is better than one that was measured in spite of this gate."""

    async def closed(self, driver: DeviceDriver) -> str | None:
        """Why a launch must wait now, or None."""


class EnergyMeter(Protocol):
    """A meter that tells the energy of one inference."""

    async def start(self, driver: DeviceDriver) -> None:
        """Measure the idle power where there is an instrument, and begin to sample."""

    async def stop(self, windows: Sequence[Window]) -> Energy:
        """End; the energy of one inference over all windows, or the reason why not.

        Safe without a start.
        """


@dataclass(frozen=True)
class Attached:
    """A device that is there, with what its kind offers for measuring on it.

    ``patience_s`` is how long the launches of one job may wait at the gates, all together, and
    ``required_patience_s`` each of them at those that are required.
    ``health`` tells how it fares without disturbing what is measured there; None where there is
    nothing to tell.
    """

    serial: str
    driver: DeviceDriver
    gates: tuple[Gate, ...]
    meters: tuple[Meter, ...]
    energy: EnergyMeter
    patience_s: float = 10.0
    required_patience_s: float = 10.0
    health: Callable[[], Awaitable[DeviceHealth]] | None = None


class DeviceSource(Protocol):
    """Finds the devices of one kind; registered by entry point in ``distillfarm.drivers``.

    The entry point names a callable that takes the ``AgentSettings`` and gives the source.
    """

    def watch(self) -> AsyncIterator[tuple[Attached, ...]]:
        """The devices that are attached: at once, and again at every change, for ever."""
