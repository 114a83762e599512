"""Models of ``tests/golden/launch_models`` as jobs on this computer."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from distillfarm.agent.drivers.host.driver import HostDriver
from distillfarm.agent.inventory import Probed
from distillfarm.agent.meters.rapl import RaplMeter
from distillfarm.agent.protocols import Attached, Gate
from distillfarm.domain.hardware import (
    Chipset,
    DeviceInfo,
    Platform,
    RuntimeSupport,
    parse_target,
)
from distillfarm.domain.ids import digest_bytes
from distillfarm.domain.job import JobRequest, Lease, MeasureSpec
from distillfarm.domain.model import ArtifactRef, ModelFormat

GOLDEN = Path(__file__).parents[1] / "golden" / "launch_models"
FORMATS = {".onnx": ModelFormat.ONNX, ".tflite": ModelFormat.TFLITE, ".tar": ModelFormat.COREAI}
TARGETS = ("onnxruntime/cpu", "litert/xnnpack", "litert/none")
LEASE = Lease("job-1", "device-1", "agent-1", 1, 1e9)


def digest(path: Path) -> str:
    return digest_bytes(path.read_bytes())


def arrays(folder: Path, name: str, **content: np.ndarray) -> Path:
    """An .npz of fixed arrays."""
    path = folder / name
    np.savez(path, allow_pickle=False, **content)
    return path


def spec(**settings: object) -> MeasureSpec:
    """A short measurement."""
    short = {"launches": 2, "max_warmup": 10, "iterations": 20, "max_sampling_s": 0.5}
    return MeasureSpec(**(short | settings))  # type: ignore[arg-type]


def request(
    model: Path,
    target: str,
    inputs: Path | None = None,
    expected: Path | None = None,
    **settings: object,
) -> tuple[JobRequest, Mapping[str, Path]]:
    """A job for ``model`` and its files by digest."""
    files = [each for each in (model, inputs, expected) if each is not None]
    artifact = ArtifactRef(
        digest(model), model.stat().st_size, FORMATS.get(model.suffix, ModelFormat.ONNX), model.name
    )
    asked = spec(
        inputs_digest=digest(inputs) if inputs else "",
        expected_digest=digest(expected) if expected else "",
        **settings,
    )
    job = JobRequest("key-1", artifact, parse_target(target), "*", asked)
    return job, {digest(each): each for each in files}


def info(*targets: str) -> DeviceInfo:
    """This computer as if probed, with ``targets`` working."""
    supports = tuple(RuntimeSupport(parse_target(each), "1.0") for each in targets or TARGETS)
    chipset = Chipset("Any", "processor")
    return DeviceInfo(
        "host-1", Platform.HOST, "computer", chipset, "Linux", "build-1", 2, 8 << 30, supports
    )


def probed(driver: HostDriver, gates: tuple[Gate, ...] = (), powercap: Path = GOLDEN) -> Probed:
    """This computer with chosen gates; ``powercap`` without counters means no energy."""
    energy = RaplMeter(powercap)
    return Probed(Attached("host-1", driver, gates, (), energy), info())
