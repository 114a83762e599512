"""Weights and activations to INT8, with ranges taken from calibration samples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes import calibration
from distillfarm.compression.passes.settings import number, option, parse
from distillfarm.compression.protocols import Promise, WorkingModel, Workspace
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from distillfarm.compression.passes.quantisers import Quantiser


@dataclass(frozen=True)
class Int8StaticSettings:
    """Ranges by ``calibration`` from at most ``samples`` of the calibration split.

    ``percentile`` is the share in percent that calibration=percentile keeps. ``weights`` have a
    scale for each channel or each tensor. ``reduce_range`` leaves a bit of the weights unused,
    against overflow on x86 processors without VNNI. ``operators=all`` quantises even what
    becomes slower by it, for accelerators that compute in integers alone.
    """

    samples: int = number(256, calibration.MIN_SAMPLES, 100_000)
    calibration: str = option("minmax", "percentile", "entropy")
    percentile: float = number(99.99, 90.0, 100.0)
    weights: str = option("channel", "tensor")
    activations: str = option("asymmetric", "symmetric")
    reduce_range: str = option("no", "yes")
    operators: str = option("auto", "all")


class Int8Static:
    """Static INT8: quantise-dequantise pairs for ONNX Runtime, integer operators for LiteRT."""

    name = "int8_static"
    formats = frozenset({ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        _settings(spec)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Calibrate and quantise."""
        from distillfarm.compression.passes import disturbance
        from distillfarm.compression.passes.quantisers import quantised

        settings = _settings(spec)
        quantiser = opened(source, settings, workspace)
        path = workspace.folder / f"int8_static.{source.format.value}"
        quantised(quantiser, path, workspace)
        disturbance.explain(quantiser, source, path, workspace)
        return WorkingModel(path, source.format)


def _settings(spec: PassSpec) -> Int8StaticSettings:
    settings = parse(spec, Int8StaticSettings)
    given = any(each.name == "percentile" for each in spec.parameters)
    if given and settings.calibration != "percentile":
        raise InvalidRequest(f"{spec}: percentile needs calibration=percentile beside it")
    return settings


def opened(source: WorkingModel, settings: Int8StaticSettings, workspace: Workspace) -> "Quantiser":
    """The quantiser of the file's format."""
    from distillfarm.compression.inference import open_model

    workspace.report(0.0, "reading the calibration samples")
    signature = open_model(source, workspace.threads).signature
    batches = calibration.batches(signature, workspace, settings.samples)
    if source.format is ModelFormat.ONNX:
        from distillfarm.compression.passes.onnx_quantisers import OnnxStatic

        return OnnxStatic(source.path, settings, batches, workspace.folder)
    from distillfarm.compression.passes import tflite_quantisers

    return tflite_quantisers.static(source.path, settings, batches, workspace.threads)
