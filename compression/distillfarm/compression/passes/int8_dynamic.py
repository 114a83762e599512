"""Weights to INT8, activations quantised on the fly: no calibration."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from distillfarm.compression.passes.settings import parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_CONVOLUTION_SHARE = 0.5
_PERCENT = 100


@dataclass(frozen=True)
class Int8DynamicSettings:
    """Dynamic INT8 has no settings."""


class Int8Dynamic:
    """Dynamic INT8.

    ONNX Runtime runs dynamically quantised convolutions an order of magnitude slower than FP32
    (microsoft/onnxruntime issue 15888), so they stay as they are, and a model that is mostly
    convolutions is refused. LiteRT has no such trouble: ai-edge-quantizer's dynamic range recipe.
    Core ML computes in floating point with INT8 weights.
    """

    name = "int8_dynamic"
    formats = frozenset({ModelFormat.COREML, ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """There are no settings."""
        parse(spec, Int8DynamicSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Quantise the weights."""
        self.check(spec)
        workspace.report(0.0, "quantising")
        path = workspace.folder / f"int8_dynamic.{source.format.value}"
        match source.format:
            case ModelFormat.ONNX:
                _onnx(source.path, path, workspace)
            case ModelFormat.COREML:
                from distillfarm.compression.passes import coreml_files

                coreml_files.int8_weights(source.path, path, workspace)
            case _:
                _tflite(source.path, path, workspace)
        return WorkingModel(path, source.format)


def _onnx(source: Path, destination: Path, workspace: Workspace) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.registry import IntegerOpsRegistry

    from distillfarm.compression.passes.onnx_files import prepared, tidy

    ready = prepared(source, workspace.folder)
    _refuse_convolutions(ready)
    quantize_dynamic(
        ready,
        destination,
        op_types_to_quantize=sorted(set(IntegerOpsRegistry) - set(_CONVOLUTIONS)),
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    tidy(destination)


def _refuse_convolutions(path: Path) -> None:
    import onnx

    graph = onnx.load(path).graph
    sizes = {each.name: onnx.numpy_helper.to_array(each).size for each in graph.initializer}
    weights: Counter[str] = Counter()
    for node in graph.node:
        weights[node.op_type] += sum(sizes.get(name, 0) for name in node.input)
    convolutions = sum(weights[name] for name in _CONVOLUTIONS)
    share = convolutions / max(1, weights.total())
    if share > _CONVOLUTION_SHARE:
        raise PassRefused(
            f"{share * _PERCENT:.0f} % of the weights are in Conv, which ONNX Runtime runs an"
            " order of magnitude slower in dynamic INT8 than in FP32; use int8_static"
        )


def _tflite(source: Path, destination: Path, workspace: Workspace) -> None:
    del workspace
    from ai_edge_quantizer import quantizer, recipe

    engine = quantizer.Quantizer(str(source), recipe.dynamic_wi8_afp32())
    result = engine.quantize(enable_progress_report=False)
    destination.write_bytes(result.quantized_model)
