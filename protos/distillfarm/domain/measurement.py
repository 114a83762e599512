"""What a device reported: launches with raw samples, never only their summary."""

from dataclasses import dataclass
from enum import Enum

from distillfarm.domain.hardware import Target
from distillfarm.domain.interval import Interval
from distillfarm.domain.job import ColdStart, MeasureSpec


class Outcome(Enum):
    """How a benchmark ended; everything but OK is data about the model on that target."""

    OK = "ok"
    INCORRECT = "incorrect"
    REFUSED = "refused"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    OVERHEATED = "overheated"


class Stop(Enum):
    """Why a measurement that went well made no further launch.

    COUNT: as many as asked for were made. WIDTH: the interval was as narrow as asked for. LAUNCHES
    and TIME: it was not, when the most launches were made or the time was spent.
    """

    COUNT = "count"
    WIDTH = "width"
    LAUNCHES = "launches"
    TIME = "time"


@dataclass(frozen=True)
class MemoryReading:
    """Memory of the runner process, each figure by the named ``method`` and never mixed.

    ``peak_method`` and ``resident_method`` name the quantities (``VmHWM``, ``PSS``,
    ``physFootprint``). ``baseline_bytes`` is the peak quantity with the runtime loaded and no
    model, ``loaded_bytes`` after loading the model, ``peak_bytes`` at the end;
    ``resident_bytes`` is the resident quantity after the last inference, None if unreadable.
    """

    peak_method: str
    baseline_bytes: int
    loaded_bytes: int
    peak_bytes: int
    resident_method: str = ""
    resident_bytes: int | None = None


@dataclass(frozen=True)
class Placement:
    """Evidence of where the model's operators ran, as the runtime told it.

    ``unit`` is the runtime's word (``CPUExecutionProvider``, ``XNNPACK``); ``nodes`` how many
    operators it took.
    """

    unit: str
    nodes: int


@dataclass(frozen=True)
class Launch:
    """One process start on the device: the unit of replication.

    All durations are nanoseconds of a monotonic clock. ``first_output_ns`` runs from the process
    launch to the first output; ``runtime_ns`` (importing or loading the runtime), ``load_ns``
    (model load and compile) and ``first_inference_ns`` are parts of it. ``warmup_ns`` are the
    samples taken before the latency was stationary, ``samples_ns`` those after it: raw, in order.
    ``max_abs_error`` compares outputs with the reference on the fixed inputs; None when no
    reference was given. ``waited_s`` is time at the gates, not part of any measurement.
    ``page_cache_resident`` is the share (0..1) of the model's and runtime's pages that stayed in
    memory in spite of being dropped; None where none were to be dropped or it cannot be known.
    ``inferences`` were timed in ``sampling_s`` seconds: more than there are samples where a long
    launch kept only some, evenly spread. Both are 0 where that was not told: then there are as many
    as samples.
    """

    cold_start: ColdStart
    first_output_ns: int
    runtime_ns: int
    load_ns: int
    first_inference_ns: int
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    memory: MemoryReading
    placements: tuple[Placement, ...]
    max_abs_error: float | None = None
    waited_s: float = 0.0
    page_cache_resident: float | None = None
    inferences: int = 0
    sampling_s: float = 0.0


@dataclass(frozen=True)
class Reported:
    """One figure in the words of a runtime maker's tool, such as ``Inference (avg)`` in ``us``."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class ToolRun:
    """One process start of a runtime maker's own tool: shown, and never compared with a launch.

    It is no launch, for the tool tells less and in its own way: it starts as it likes, makes up its
    inputs and compares no outputs. ``reported`` are its figures as it words them. ``load_ns`` and
    ``first_inference_ns`` are None where it does not tell, or tells whole milliseconds only.
    ``warmup_ns`` and ``samples_ns`` are raw and in order, and empty where it gives aggregates
    alone. ``all_on`` is the back end that took every operator where the tool makes sure of that
    without counting them; else it is empty, and ``placements`` are what was counted.
    """

    tool: str
    reported: tuple[Reported, ...]
    load_ns: int | None = None
    first_inference_ns: int | None = None
    warmup_ns: tuple[int, ...] = ()
    samples_ns: tuple[int, ...] = ()
    placements: tuple[Placement, ...] = ()
    all_on: str = ""
    waited_s: float = 0.0


@dataclass(frozen=True)
class Energy:
    """Energy for one inference, or why there is none.

    ``method`` is empty when nothing was measured, and then ``reason`` says why. ``gross_mj`` is
    what the meter saw, ``net_mj`` after subtracting the idle power measured beside it;
    ``resolution_mj`` is what it can tell apart. ``interval_s`` is the time between its readings,
    ``repeats`` how many launches went in.
    """

    method: str = ""
    reason: str = ""
    gross_mj: float | None = None
    net_mj: float | None = None
    resolution_mj: float | None = None
    interval_s: float | None = None
    repeats: int = 0


@dataclass(frozen=True)
class SeriesPoint:
    """One reading, ``t_s`` seconds after the series began."""

    t_s: float
    value: float


@dataclass(frozen=True)
class Series:
    """What a meter saw during a job: ``quantity`` in ``unit``, read by ``method``."""

    quantity: str
    unit: str
    method: str
    points: tuple[SeriesPoint, ...]


@dataclass(frozen=True)
class ContextEntry:
    """One fact about the run: ``os_build``, ``runtime_version``, ``load_before`` and so on."""

    name: str
    value: str


@dataclass(frozen=True)
class RivalRun:
    """What became of a job's rival: its launch number i was made beside the job's own number i."""

    artifact_digest: str
    target: Target
    outcome: Outcome
    reason: str
    launches: tuple[Launch, ...]


@dataclass(frozen=True)
class Measurement:
    """One artifact on one device under one spec.

    ``reason`` is empty for OK. ``started_at_s`` is Unix time; ``device_s`` is how long the device
    was held, ``waited_s`` the part of it spent waiting at gates. Where the spec names a tool there
    are ``tool_runs`` in place of ``launches``. ``stop`` is why there are no more launches.
    """

    measurement_id: str
    job_id: str
    device_id: str
    artifact_digest: str
    target: Target
    spec: MeasureSpec
    outcome: Outcome
    reason: str
    launches: tuple[Launch, ...]
    energy: Energy
    context: tuple[ContextEntry, ...]
    started_at_s: float
    device_s: float
    waited_s: float = 0.0
    emulated: bool = False
    series: tuple[Series, ...] = ()
    tool_runs: tuple[ToolRun, ...] = ()
    stop: Stop = Stop.COUNT
    rival: RivalRun | None = None


@dataclass(frozen=True)
class Peak:
    """One of several values around which launches gather: milliseconds, and its share of them."""

    centre_ms: float
    share: float


@dataclass(frozen=True)
class Sustained:
    """How latency went in launches of the mode SUSTAINED, as medians over launches.

    ``first_ms`` is the p50 of the first tenth of a launch, ``last_ms`` that of the last;
    ``slower_after_s`` is when it had grown by 10 % for good, None where it never did.
    """

    first_ms: float
    last_ms: float
    slower_after_s: float | None


@dataclass(frozen=True)
class Summary:
    """What a measurement says in few numbers; the intervals are over launches.

    Latencies are milliseconds, memory is bytes; a value is the median over launches. ``launch_cv``
    is the robust coefficient of variation of the launch medians (0..1); ``stable`` is whether the
    launches agree as they should for the device's class, and ``instability`` why not.
    ``warm_peaks`` and ``load_peaks`` are where launches gather, one peak or more. ``drift`` is how
    much slower (0.1: by 10 %) the typical launch was at its end than at its beginning, 0 where that
    cannot be told from noise; ``drifting`` launches showed any. ``minimum_effect`` is the smallest
    difference (0.05: 5 %) that a comparison on this class of device is made to find.
    """

    launches: int
    iterations: int
    cold_ms: Interval
    load_ms: Interval
    first_inference_ms: Interval
    warm_p50_ms: Interval
    warm_p90_ms: Interval
    warm_p99_ms: Interval
    warm_mad_ms: float
    peak_memory_bytes: Interval
    launch_cv: float
    stable: bool
    instability: str = ""
    warm_peaks: tuple[Peak, ...] = ()
    load_peaks: tuple[Peak, ...] = ()
    drift: float = 0.0
    drifting: int = 0
    minimum_effect: float = 0.0
    sustained: Sustained | None = None


class Finding(Enum):
    """What a comparison shows of its second side against its first."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no_difference"
    """None was shown; there may be one that is smaller than what these launches can tell."""


@dataclass(frozen=True)
class Comparison:
    """Two artifacts on one device, in one quantity.

    ``metric`` is the ``Metric``'s value, such as ``warm_p50``. ``ratio`` is the second's over the
    first's (0.8: a fifth faster) with its 99 % interval. ``interleaved`` is whether they were
    launched in turn; else only more than ``minimum_effect`` is told from noise. ``more_launches`` a
    side would probably show this ratio as a difference, 0 where it is shown or none is to be seen.
    """

    metric: str
    finding: Finding
    ratio: Interval
    launches: int
    interleaved: bool
    minimum_effect: float
    more_launches: int = 0
    reason: str = ""
