"""Finds the shape of every tensor of an ONNX model for one sample."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime
from onnx import ModelProto
from onnx.shape_inference import InferenceError
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from distillfarm.compression.analysis.layers import FREE_SIZE
from distillfarm.domain.errors import ModelRejected

_FAILURES = (failures.Fail, failures.InvalidGraph, failures.NotImplemented)
_FATAL_ONLY = 4


def for_one_sample(model: ModelProto) -> ModelProto:
    """The model with every shape inferred that can be, functions inlined.

    Raises:
        ModelRejected: the model's shapes contradict one another.
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    for value in model.graph.input:
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_value = FREE_SIZE if index else 1
    # Shapes that were noted for the free dimensions contradict the filled-in ones.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = _inferred(model)
    if _complete(inferred):
        return inferred
    # Shapes that the model works out from other shapes are constants once the batch is fixed:
    # ONNX Runtime folds them, and what follows can be inferred.
    known = {each.name for each in inferred.graph.value_info if _known(each)}
    for each in _folded(model):
        if each.name not in known and _known(each):
            inferred.graph.value_info.append(each)
    return _inferred(inferred)


def _inferred(model: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except InferenceError as error:
        raise ModelRejected(f"the model's shapes contradict one another: {error}") from error


def _complete(model: ModelProto) -> bool:
    known = {each.name for each in (*model.graph.value_info, *model.graph.output) if _known(each)}
    return all(name in known for node in model.graph.node for name in node.output if name)


def _folded(model: ModelProto) -> list[onnx.ValueInfoProto]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with TemporaryDirectory() as scratch:
        path, folded = Path(scratch) / "model.onnx", Path(scratch) / "folded.onnx"
        onnx.save(model, path)
        options.optimized_model_filepath = str(folded)
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except _FAILURES:
            return []  # such a model has been refused by its runtime already, or will be
        graph = _inferred(onnx.load_model(folded)).graph
    return [*graph.value_info, *graph.output]


def _known(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)
