"""Made-up devices, jobs, results and studies for tests and benchmarks of the controller."""

from collections.abc import Sequence
from dataclasses import replace

from distillfarm.domain.agent import JobResult
from distillfarm.domain.hardware import (
    Chipset,
    ComputeUnit,
    DeviceInfo,
    Platform,
    Runtime,
    RuntimeSupport,
    Target,
)
from distillfarm.domain.job import ColdStart, JobRequest, Lease, MeasureSpec
from distillfarm.domain.measurement import (
    Energy,
    Launch,
    Measurement,
    MemoryReading,
    Outcome,
    RivalRun,
)
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.study import Bound, Metric, Sla, StudySpec

ONNX = Target(Runtime.ONNXRUNTIME, "cpu", ComputeUnit.CPU)
LITERT = Target(Runtime.LITERT, "xnnpack", ComputeUnit.CPU)
DIGEST = "sha256:" + "0" * 64
OTHER_DIGEST = "sha256:" + "1" * 64


def device_info(
    serial: str = "phone-1",
    *,
    model: str = "Pixel 7",
    refusal: str = "",
    emulated: bool = False,
) -> DeviceInfo:
    """A device on which ONNX Runtime works, unless ``refusal`` says why not."""
    return DeviceInfo(
        serial,
        Platform.HOST,
        model,
        Chipset("Google", "Tensor G2"),
        "Android",
        "build-1",
        8,
        8 << 30,
        (RuntimeSupport(ONNX, "1.30", refusal),),
        emulated,
    )


def request(
    key: str = "key-1",
    *,
    selector: str = "*",
    target: Target = ONNX,
    priority: int = 0,
    study_id: str = "",
    digest: str = DIGEST,
    name: str = "model.onnx",
) -> JobRequest:
    """A job that any device with ONNX Runtime can run."""
    artifact = ArtifactRef(digest, 100, ModelFormat.ONNX, name)
    return JobRequest(key, artifact, target, selector, MeasureSpec(), priority, study_id)


def launch(sample_ns: int = 1_000_000) -> Launch:
    """A launch whose every inference takes ``sample_ns``."""
    return Launch(
        ColdStart.NEW_PROCESS,
        30_000_000,
        10_000_000,
        5_000_000,
        2_000_000,
        (),
        (sample_ns,) * 10,
        MemoryReading("VmHWM", 30_000_000, 40_000_000, 50_000_000),
        (),
    )


def measurement(
    lease: Lease,
    *,
    target: Target = ONNX,
    launches: tuple[Launch, ...] = (),
    outcome: Outcome = Outcome.OK,
    reason: str = "",
    started_at_s: float = 0.0,
) -> Measurement:
    """What the device reports under ``lease``."""
    return Measurement(
        f"measurement-{lease.device_id}-{lease.token}",
        lease.job_id,
        lease.device_id,
        DIGEST,
        target,
        MeasureSpec(),
        outcome,
        reason,
        launches or (launch(), launch(), launch()),
        Energy(reason="no meter"),
        (),
        started_at_s,
        1.0,
    )


def raced(
    lease: Lease, own_ns: Sequence[int], other_ns: Sequence[int], other: Target = ONNX
) -> Measurement:
    """What the device reports of a job with a rival: the warm latency of each one's launches."""
    rival = RivalRun(OTHER_DIGEST, other, Outcome.OK, "", tuple(map(launch, other_ns)))
    taken = measurement(lease, launches=tuple(map(launch, own_ns)))
    return replace(taken, rival=rival)


def result(lease: Lease) -> JobResult:
    """A success under ``lease``."""
    return JobResult(lease, measurement(lease))


def study_spec(name: str = "digits") -> StudySpec:
    """A small study."""
    return StudySpec(
        name,
        SourceModel(ArtifactRef(DIGEST, 100, ModelFormat.ONNX, f"{name}.onnx")),
        Dataset(DIGEST),
        Sla((Bound(Metric.WARM_P90, 10.0),)),
        (ONNX,),
    )
