"""What a device is made of, and where on it a model can run."""

from dataclasses import dataclass
from enum import Enum

from distillfarm.domain.errors import InvalidRequest


class Platform(Enum):
    """The kind of device, which decides the driver."""

    HOST = "host"
    ANDROID = "android"
    IOS = "ios"


class Runtime(Enum):
    """The inference runtime that executes an artifact."""

    ONNXRUNTIME = "onnxruntime"
    LITERT = "litert"
    COREML = "coreml"
    EXECUTORCH = "executorch"
    COREAI = "coreai"


class ComputeUnit(Enum):
    """The silicon that executes the operators."""

    CPU = "cpu"
    GPU = "gpu"
    NPU = "npu"


@dataclass(frozen=True)
class Target:
    """Where an artifact runs: runtime, delegate and compute unit.

    ``delegate`` is the runtime's own name for its back end in lower case: an ONNX Runtime
    execution provider (``cpu``, ``xnnpack``), a LiteRT delegate (``xnnpack``, ``none``), or what
    Core ML and Core AI are permitted to use.
    """

    runtime: Runtime
    delegate: str
    unit: ComputeUnit

    def __str__(self) -> str:
        return f"{self.runtime.value}/{self.delegate}/{self.unit.value}"


DEFAULT_DELEGATES = {
    Runtime.ONNXRUNTIME: "cpu",
    Runtime.LITERT: "xnnpack",
    Runtime.COREML: "cpu_only",
    Runtime.EXECUTORCH: "xnnpack",
    Runtime.COREAI: "cpu_only",
}


def parse_target(text: str) -> Target:
    """Read ``runtime[/delegate[/unit]]``, for example ``litert`` or ``onnxruntime/cpu/cpu``.

    Raises:
        InvalidRequest: an unknown runtime or compute unit.
    """
    runtime_name, _, rest = text.strip().lower().partition("/")
    delegate, _, unit_name = rest.partition("/")
    try:
        runtime = Runtime(runtime_name)
        unit = ComputeUnit(unit_name or "cpu")
    except ValueError as error:
        known = ", ".join(each.value for each in Runtime)
        raise InvalidRequest(
            f"target {text!r}: {error}; write RUNTIME[/DELEGATE[/UNIT]] with a runtime of {known}"
        ) from error
    return Target(runtime, delegate or DEFAULT_DELEGATES[runtime], unit)


@dataclass(frozen=True)
class Chipset:
    """A system on chip, as the device itself names it; ``vendor`` may be empty."""

    vendor: str
    model: str

    def __str__(self) -> str:
        return f"{self.vendor} {self.model}".strip()


@dataclass(frozen=True)
class Cluster:
    """Cores of one highest clock, by their numbers."""

    max_khz: int
    cores: tuple[int, ...]

    @property
    def mask(self) -> str:
        """The cores as ``taskset`` takes them, in hexadecimal."""
        return f"{sum(1 << core for core in self.cores):x}"

    def __str__(self) -> str:
        return f"{len(self.cores)}x{self.max_khz / 1e6:.2f} GHz"


@dataclass(frozen=True)
class Gpu:
    """The graphics processor; ``driver`` is the version text of its driver."""

    vendor: str
    name: str
    driver: str


@dataclass(frozen=True)
class RuntimeSupport:
    """Whether one target works on one device, found by running a tiny model there.

    ``refusal`` is empty when it works, else the reason in the runtime's words.
    """

    target: Target
    version: str
    refusal: str = ""

    @property
    def works(self) -> bool:
        """Whether a model can be run on this target."""
        return not self.refusal


@dataclass(frozen=True)
class DeviceInfo:
    """What a driver finds out about one physical device.

    ``serial`` is stable for the life of the device and names it inside its agent. ``os_build``
    is the fingerprint whose change starts a new series of measurements. ``emulated`` devices are
    for testing the plumbing; their times never enter the matrix.

    ``codename`` is the maker's name of the device (Android's ``ro.product.device``) and ``board``
    that of its platform (``ro.board.platform``), which several chipsets may share; both are empty
    where it has none. ``clusters`` are its cores by their highest clock, the slowest first.
    ``npu_libraries`` are the file names of vendor libraries for neural units that lie on it.
    ``firmware`` is what lies below the system and is updated apart from it, as far as it tells.
    """

    serial: str
    platform: Platform
    model: str
    chipset: Chipset
    os_name: str
    os_build: str
    cores: int
    memory_bytes: int
    runtimes: tuple[RuntimeSupport, ...] = ()
    emulated: bool = False
    codename: str = ""
    board: str = ""
    clusters: tuple[Cluster, ...] = ()
    gpu: Gpu | None = None
    npu_libraries: tuple[str, ...] = ()
    firmware: str = ""


@dataclass(frozen=True)
class DeviceHealth:
    """How one device fares at a moment; None and empty are what it does not tell.

    ``serial`` names it inside its agent. ``battery`` is the battery's state in a word or two,
    such as ``charging``. ``temperature_c`` is the body's. ``throttling`` is 0 for none to 6 for
    shutting down. ``trouble`` is why the agent holds it unfit for work, empty when it is fit.
    """

    serial: str
    seen_at_s: float
    battery_percent: float | None = None
    battery: str = ""
    temperature_c: float | None = None
    throttling: int | None = None
    trouble: str = ""


class DeviceStatus(Enum):
    """Whether a device can be given work.

    DRAINED is a person's wish; QUARANTINED a device that misbehaved, until somebody releases it.
    """

    IDLE = "idle"
    BUSY = "busy"
    DRAINED = "drained"
    OFFLINE = "offline"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Device:
    """One device as the controller knows it.

    ``note`` says why it is drained, quarantined or offline. ``labels`` are free words for
    selectors; ``name`` is the lab's own for it, empty where it has none. ``health`` is the newest
    that its agent told.
    """

    device_id: str
    agent_id: str
    info: DeviceInfo
    status: DeviceStatus
    last_seen_s: float
    labels: tuple[str, ...] = ()
    note: str = ""
    name: str = ""
    health: DeviceHealth | None = None


def matches(device: Device, selector: str) -> bool:
    """Whether ``device`` is meant by ``selector``.

    A selector is ``*`` or a comma-separated list of terms that must all hold. A term is
    ``key=value`` with key ``id``, ``name``, ``agent``, ``platform``, ``model``, ``chipset``,
    ``label`` or ``emulated`` (``yes`` or ``no``), or a bare word that equals the device id, its
    name, its serial or one of its labels.
    """
    return all(_term_holds(device, term.strip()) for term in selector.split(",") if term.strip())


def _term_holds(device: Device, term: str) -> bool:
    key, separator, value = term.partition("=")
    if not separator:
        words = (device.device_id, device.name, device.info.serial, *device.labels)
        return term == "*" or term in words
    known = {
        "id": (device.device_id,),
        "name": (device.name,),
        "agent": (device.agent_id,),
        "platform": (device.info.platform.value,),
        "model": (device.info.model,),
        "chipset": (str(device.info.chipset), device.info.chipset.model),
        "label": device.labels,
        "emulated": ("yes" if device.info.emulated else "no",),
    }
    if key not in known:
        raise InvalidRequest(
            f"selector term {term!r}: unknown key {key!r}; use one of {', '.join(sorted(known))}"
        )
    return value.casefold() in (each.casefold() for each in known[key])
