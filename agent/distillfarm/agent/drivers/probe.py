"""Finds out which targets work on a device by running a tiny model on each."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from distillfarm.agent.protocols import DeviceDriver, Launched, LaunchFailure, Prepared
from distillfarm.agent.runners import reports
from distillfarm.agent.runners.coreai import CoreAiRunner
from distillfarm.agent.runners.coreml import CoreMlRunner
from distillfarm.agent.runners.litert import LitertRunner
from distillfarm.agent.runners.onnxruntime import OnnxRuntimeRunner
from distillfarm.agent.runners.program import ProgramRunner
from distillfarm.domain.errors import FarmError, InternalError, InvalidRequest, MissingExtra
from distillfarm.domain.hardware import RuntimeSupport, Target
from distillfarm.domain.ids import digest_bytes
from distillfarm.domain.job import JobRequest, MeasureSpec
from distillfarm.domain.model import ArtifactRef, ModelFormat

# One convolution and one activation, from tests/golden/launch_models/make.py.
MODELS = Path(__file__).with_name("host") / "models"
# For the first of them: on iPhones ONNX Runtime tells no shapes.
INPUTS = MODELS / "tiny.npz"
_RUNNERS: tuple[tuple[ProgramRunner, ModelFormat], ...] = (
    (OnnxRuntimeRunner(), ModelFormat.ONNX),
    (LitertRunner(), ModelFormat.TFLITE),
    (CoreMlRunner(), ModelFormat.COREML),
    (CoreAiRunner(), ModelFormat.COREAI),
)
_SPEC = MeasureSpec(launches=1, max_warmup=0, iterations=10, max_sampling_s=0.0)


# What keeps one target from working; everything else is about the device and ends the probe.
_OF_ONE_TARGET = (InternalError, InvalidRequest, MissingExtra)


async def probe_targets(
    driver: DeviceDriver, targets: Sequence[Target]
) -> tuple[RuntimeSupport, ...]:
    """What came of every target, with the runtime's version where it could be loaded.

    Raises:
        FarmError: the device was lost meanwhile.
    """
    return tuple([await _probe(driver, target) for target in targets])


async def _probe(driver: DeviceDriver, target: Target) -> RuntimeSupport:
    runner, model_format = next(each for each in _RUNNERS if each[0].runtime is target.runtime)
    path = MODELS / f"tiny{runner.suffix}"
    content = await asyncio.to_thread(path.read_bytes)
    artifact = ArtifactRef(digest_bytes(content), len(content), model_format, path.name)
    files, spec = {artifact.digest: path}, _SPEC
    if model_format is ModelFormat.ONNX:
        inputs_digest = digest_bytes(await asyncio.to_thread(INPUTS.read_bytes))
        files[inputs_digest] = INPUTS
        spec = replace(spec, inputs_digest=inputs_digest)
    request = JobRequest("probe", artifact, target, "*", spec)
    try:
        prepared = await runner.prepare(driver, request, files)
        return await _support(driver, runner, request, prepared)
    except _OF_ONE_TARGET as error:
        return RuntimeSupport(target, "", str(error))


async def _support(
    driver: DeviceDriver, runner: ProgramRunner, request: JobRequest, prepared: Prepared
) -> RuntimeSupport:
    report = await runner.report(driver, request, prepared)
    try:
        judged: Launched | LaunchFailure = reports.judge(report, request.spec)
    except FarmError as error:
        return RuntimeSupport(request.target, report.version, str(error))
    refusal = judged.reason if isinstance(judged, LaunchFailure) else ""
    return RuntimeSupport(request.target, report.version, refusal)
