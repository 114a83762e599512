"""Weights to half precision; inputs and outputs stay FP32."""

from dataclasses import dataclass
from pathlib import Path

from distillfarm.compression.passes.settings import parse
from distillfarm.compression.protocols import Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

_HALF_BITS = 16


@dataclass(frozen=True)
class Fp16Settings:
    """FP16 has no settings."""


class Fp16:
    """Half precision.

    ONNX: the whole graph computes in FP16 between casts. LiteRT: FP16 weights, dequantised when
    the model is loaded on a CPU and used as they are on most GPUs. Core ML: weights and arithmetic.
    """

    name = "fp16"
    formats = frozenset({ModelFormat.COREML, ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """There are no settings."""
        parse(spec, Fp16Settings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Convert the weights."""
        self.check(spec)
        workspace.report(0.0, "converting to half precision")
        path = workspace.folder / f"fp16.{source.format.value}"
        match source.format:
            case ModelFormat.ONNX:
                _onnx(source.path, path)
            case ModelFormat.COREML:
                from distillfarm.compression.passes import coreml_files

                coreml_files.float16(source.path, path, workspace)
            case _:
                _tflite(source.path, path)
        return WorkingModel(path, source.format)


def _onnx(source: Path, destination: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from distillfarm.compression.passes.onnx_files import tidy

    model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    onnx.save(model, destination)
    tidy(destination)


def _tflite(source: Path, destination: Path) -> None:
    from ai_edge_quantizer import qtyping, quantizer

    engine = quantizer.Quantizer(str(source))
    half = qtyping.TensorQuantizationConfig(num_bits=_HALF_BITS, dtype=qtyping.TensorDataType.FLOAT)
    engine.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT
        ),
        algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING,
    )
    result = engine.quantize(enable_progress_report=False)
    destination.write_bytes(result.quantized_model)
