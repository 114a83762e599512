"""Weights to half precision; inputs and outputs stay FP32."""

from dataclasses import dataclass
from pathlib import Path

from distillfarm.compression.passes.settings import option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

_HALF_BITS = 16


@dataclass(frozen=True)
class Fp16Settings:
    """Whether an ONNX graph also computes in FP16, or in FP32 with weights unpacked at load."""

    compute: str = option("float", "half")


class Fp16:
    """Half precision.

    ONNX: FP16 weights that ONNX Runtime unpacks once, when it loads the model, so that CPUs
    without FP16 arithmetic are no slower; ``compute=half`` has the whole graph in FP16, for
    accelerators. LiteRT: FP16 weights, unpacked at load on a CPU and used as they are on most
    GPUs. Core ML: weights and arithmetic.
    """

    name = "fp16"
    formats = frozenset({ModelFormat.COREML, ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, Fp16Settings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Convert the weights."""
        settings = parse(spec, Fp16Settings)
        if source.format is not ModelFormat.ONNX and spec.parameters:
            raise PassRefused(f"{spec}: compute can be set on ONNX files alone; leave it out")
        workspace.report(0.0, "converting to half precision")
        path = workspace.folder / f"fp16.{source.format.value}"
        match source.format:
            case ModelFormat.ONNX:
                convert = _onnx_half if settings.compute == "half" else _onnx_weights
                convert(source.path, path)
            case ModelFormat.COREML:
                from distillfarm.compression.passes import coreml_files

                coreml_files.float16(source.path, path, workspace)
            case _:
                _tflite(source.path, path)
        return WorkingModel(path, source.format)


def _onnx_weights(source: Path, destination: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from distillfarm.compression.passes.onnx_files import tidy

    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
            raise PassRefused(f"weight {name} holds values that FP16 cannot, beyond 65,504")
        half = f"{name}/float16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [name], half, to=TensorProto.FLOAT))
    given = [each for each in model.graph.input if each.name not in {c.output[0] for c in casts}]
    del model.graph.input[:]
    model.graph.input.extend(given)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    onnx.save(model, destination)
    tidy(destination)


def _onnx_half(source: Path, destination: Path) -> None:
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
