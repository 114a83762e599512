"""Weights to INT8, activations quantised on the fly: no calibration."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes.settings import option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from distillfarm.compression.passes.quantisers import Quantiser


@dataclass(frozen=True)
class Int8DynamicSettings:
    """``weights`` have a scale for each channel or each tensor.

    ``compute=float`` leaves activations in FP32 and unpacks the weights, which only saves space.
    ``reduce_range`` leaves a bit of the weights unused, against overflow on x86 processors
    without VNNI.
    """

    weights: str = option("channel", "tensor")
    compute: str = option("int8", "float")
    reduce_range: str = option("no", "yes")


class Int8Dynamic:
    """Dynamic INT8.

    ONNX Runtime runs dynamically quantised convolutions an order of magnitude slower than FP32
    (microsoft/onnxruntime issue 15888), so they stay as they are, and a model that is mostly
    convolutions is refused. LiteRT has no such trouble. Core ML computes in floating point with
    INT8 weights.
    """

    name = "int8_dynamic"
    formats = frozenset({ModelFormat.COREML, ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, Int8DynamicSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Quantise the weights."""
        settings = parse(spec, Int8DynamicSettings)
        workspace.report(0.0, "quantising")
        path = workspace.folder / f"int8_dynamic.{source.format.value}"
        if source.format is ModelFormat.COREML:
            if spec.parameters:
                raise PassRefused(f"{spec}: Core ML files take no settings here; leave them out")
            from distillfarm.compression.passes import coreml_files

            coreml_files.int8_weights(source.path, path, workspace)
            return WorkingModel(path, source.format)
        from distillfarm.compression.passes import disturbance
        from distillfarm.compression.passes.quantisers import quantised

        quantiser = opened(source, settings, workspace)
        quantised(quantiser, path, workspace)
        disturbance.explain(quantiser, source, path, workspace)
        return WorkingModel(path, source.format)


def opened(
    source: WorkingModel, settings: Int8DynamicSettings, workspace: Workspace
) -> "Quantiser":
    """The quantiser of the file's format."""
    if source.format is ModelFormat.ONNX:
        if settings.compute == "float":
            raise PassRefused("compute=float is LiteRT's alone; on ONNX use int4 or fp16")
        from distillfarm.compression.passes.onnx_quantisers import OnnxDynamic

        return OnnxDynamic(source.path, settings, workspace.folder)
    from distillfarm.compression.passes import tflite_quantisers

    return tflite_quantisers.dynamic(source.path, settings)
