"""Treats one layer of an ONNX model: its constants, and a rounding node before it for INT8."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from distillfarm.compression.analysis.layers import Layer
from distillfarm.compression.analysis.onnx import FOLDED
from distillfarm.compression.analysis.sensitivity import Treatable
from distillfarm.compression.analysis.treatments import WEIGHTS
from distillfarm.compression.datasets import Array, Samples
from distillfarm.compression.evaluation import Outputs
from distillfarm.compression.predictors.onnx import OnnxPredictor
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature

_MATRIX = 2
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
# Which inputs are the weights, and on which of their axes the outputs lie.
_KINDS = {
    "Conv": ((1,), 0),
    "ConvTranspose": ((1,), 1),
    "FusedConv": ((1,), 0),
    "GRU": ((1, 2), 1),
    "Gather": ((0,), 0),
    "Gemm": ((1,), 1),
    "LSTM": ((1, 2), 1),
    "MatMul": ((1,), -1),
    "RNN": ((1, 2), 1),
}
_TABLE = "Gather"
_PRUNABLE = frozenset({"Conv", "FusedConv", "Gemm", "MatMul"})
# DynamicQuantizeLinear exists since this version.
_ROUNDING_OPSET = 11


@dataclass(frozen=True)
class _Weights:
    """The constants of a layer's node; ``axis`` is that of the outputs."""

    node: str
    operator: str
    constants: tuple[str, ...]
    axis: int


def editor(model: WorkingModel, signature: Signature, layers: Sequence[Layer]) -> "OnnxEditor":
    """The editor of an .onnx file."""
    del signature, layers
    return OnnxEditor(onnx.load_model(model.path, format="protobuf"))


class OnnxEditor:
    """Layers of the main graph by the names of the analysis."""

    def __init__(self, model: ModelProto) -> None:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        self._model = model
        self._values = dict(_constants(model))
        makers = {name: node for node in model.graph.node for name in node.output}
        found = [each for node in model.graph.node if (each := self._weights(node, makers))]
        self._layers = {each.node: each for each in found}
        working = [each.node for each in found if each.operator != _TABLE]
        self.layers = tuple(
            Treatable(
                each.node,
                sum(self._values[name].size for name in each.constants),
                prunable=each.operator in _PRUNABLE and each.node in working[:-1],
            )
            for each in found
        )
        versions = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
        self._rounds = max(versions, default=0) >= _ROUNDING_OPSET

    def answers(self, samples: Samples, layer: str = "", technique: str = "") -> Outputs:
        """Outputs with ``layer`` treated; with no layer, the model's own."""
        treated = ModelProto()
        treated.CopyFrom(self._model)
        if layer:
            self._treat(treated, self._layers[layer], technique)
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / "treated.onnx"
            onnx.save(treated, path)
            return OnnxPredictor(path, 1, plain=False)(samples.inputs)

    def _treat(self, model: ModelProto, layer: _Weights, technique: str) -> None:
        changed = {
            name: _changed(self._values[name], layer.axis, technique) for name in layer.constants
        }
        for tensor in model.graph.initializer:
            if tensor.name in changed:
                tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))
        for node in model.graph.node:
            if node.op_type == "Constant" and node.output[0] in changed:
                value = numpy_helper.from_array(changed[node.output[0]])
                node.CopyFrom(helper.make_node("Constant", [], node.output, value=value))
        if technique == "int8" and layer.operator != _TABLE and self._rounds:
            _round_inputs(model, layer.node)

    def _weights(self, node: NodeProto, makers: dict[str, NodeProto]) -> _Weights | None:
        if node.op_type not in _KINDS:
            return None
        inputs, axis = _KINDS[node.op_type]
        if node.op_type == "Gemm" and any(
            each.name == "transB" and each.i for each in node.attribute
        ):
            axis = 0
        given = [node.input[index] for index in inputs if index < len(node.input)]
        constants = tuple(
            dict.fromkeys(name for each in given for name in self._made_of(each, makers))
        )
        if not constants:
            return None
        direct = all(name in self._values for name in given)
        # What was sliced or transposed on the way has its outputs first, as PyTorch stores them.
        return _Weights(node.name or node.output[0], node.op_type, constants, axis if direct else 0)

    def _made_of(self, name: str, makers: dict[str, NodeProto]) -> list[str]:
        """The matrices among the constants that a tensor is folded from."""
        if name in self._values:
            return [name] if self._values[name].ndim >= _MATRIX else []
        node = makers.get(name)
        if node is None or node.op_type not in FOLDED:
            return []
        return [each for given in node.input for each in self._made_of(given, makers)]


def _constants(model: ModelProto) -> Iterator[tuple[str, Array]]:
    for tensor in model.graph.initializer:
        if tensor.data_type in _FLOATS:
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].t.data_type in _FLOATS:
            yield node.output[0], numpy_helper.to_array(node.attribute[0].t)


def _changed(values: Array, axis: int, technique: str) -> Array:
    turned = np.moveaxis(values.astype(np.float32), axis, 0)
    matrix = WEIGHTS[technique](turned.reshape(len(turned), -1)).reshape(turned.shape)
    return np.ascontiguousarray(np.moveaxis(matrix, 0, axis)).astype(values.dtype)


def _round_inputs(model: ModelProto, name: str) -> None:
    """Let the node take in what it takes in rounded to 8 bits, over the range that it has."""
    nodes = list(model.graph.node)
    index = next(index for index, each in enumerate(nodes) if (each.name or each.output[0]) == name)
    rounded = [f"{name}/{each}" for each in ("whole", "scale", "zero", "rounded")]
    added = [
        helper.make_node("DynamicQuantizeLinear", [nodes[index].input[0]], rounded[:3]),
        helper.make_node("DequantizeLinear", rounded[:3], rounded[3:]),
    ]
    nodes[index].input[0] = rounded[3]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:index], *added, *nodes[index:]])
