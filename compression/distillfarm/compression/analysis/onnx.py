"""Counts an ONNX model from its graph, subgraphs and local functions included."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper

from distillfarm.compression.analysis.layers import Facts, Layer, by_bytes
from distillfarm.compression.analysis.onnx_shapes import for_one_sample
from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers.onnx import of_attribute
from distillfarm.domain.model import Signature

_WEIGHT_TYPES = frozenset({
    TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16,
    TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2, TensorProto.INT16, TensorProto.INT32,
    TensorProto.INT4, TensorProto.INT8, TensorProto.UINT16, TensorProto.UINT4, TensorProto.UINT8,
})  # fmt: skip
_SCALED = ("DequantizeLinear", "QuantizeLinear")
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Which input of a product is the right-hand side.
_MATMULS = {
    "DynamicQuantizeMatMul": 1,
    "FusedMatMul": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearMatMul": 3,
}
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "FusedConv": 1, "QLinearConv": 3}


FOLDED = frozenset({
    "Cast", "Concat", "DequantizeLinear", "Expand", "Identity", "Reshape", "Slice", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Of constants alone, runtimes work these out once, when they load the model."""
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# They read the rows that they are asked for, not the table.
_LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND"})

_Shape = tuple[int, ...] | None
_Shapes = list[_Shape]


@dataclass(frozen=True, eq=False)
class _Held:
    """A constant of the file; ``values`` is 0 for one that was not trained."""

    size_bytes: int
    values: int


@dataclass(frozen=True)
class _Known:
    """What is known of the tensors in scope.

    Shapes, bytes of a value, the constants of the file that a tensor is made of, and those of
    them that a layer has used before.
    """

    shapes: Mapping[str, tuple[int, ...]]
    item_bytes: Mapping[str, float]
    made_of: dict[str, tuple[_Held, ...]]
    used: set[_Held]


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take an .onnx file apart, for one sample."""
    graph = for_one_sample(onnx.load_model(model.path, format="protobuf")).graph
    batch = max(1, signature.inputs[0].shape[0])
    layers = [
        replace(each, macs=each.macs // batch, activation_bytes=each.activation_bytes // batch)
        for each in _layers(graph, _Known({}, {}, {}, set()), set())
    ]
    parameters, sizes = 0, Counter[str]()
    for tensor in _weights(graph, set()):
        values = math.prod(tensor.dims)
        parameters += values
        sizes[_dtype(tensor.data_type)] += math.ceil(values * _item_bytes(tensor.data_type))
    return Facts(parameters, tuple(layers), by_bytes(sizes))


def _layers(graph: GraphProto, outer: _Known, scales: set[str]) -> Iterator[Layer]:
    scales = scales | _scales(graph)
    known = _scope(graph, outer, scales)
    for node in graph.node:
        constants = [each for attribute in node.attribute for each in of_attribute(attribute)]
        if node.op_type == "Constant":
            trained = not scales.intersection(node.output)
            for each in constants:
                known.made_of[node.output[0]] = (_held(each, trained=trained),)
            continue
        given = [name for name in node.input if name]
        bodies = [list(_layers(each, known, scales)) for each in subgraphs(node)]
        if node.op_type in FOLDED and given and all(name in known.made_of for name in given):
            origins = (each for name in given for each in known.made_of[name])
            known.made_of.update(dict.fromkeys(node.output, tuple(dict.fromkeys(origins))))
            yield Layer(_name(node), node.op_type)
        else:
            yield _layer(node, known)
        if node.op_type == "If" and len(bodies) > 1:
            yield from _dearer(bodies)
        else:
            for body in bodies:
                yield from body


def _layer(node: NodeProto, known: _Known) -> Layer:
    constant = [name for name in node.input if name in known.made_of]
    moved = [name for name in (*node.input, *node.output) if name not in known.made_of]
    read = sum(_read_bytes(name, known) for name in constant)
    if node.op_type in _LOOKUPS:
        read = min(read, sum(_value_bytes(name, known) for name in node.output))
    fresh = {each for name in constant for each in known.made_of[name]} - known.used
    known.used.update(fresh)
    return Layer(
        name=_name(node),
        operator=node.op_type,
        macs=_macs(node, known),
        weight_bytes=read,
        activation_bytes=(
            0 if node.op_type in _VIEWS else sum(_value_bytes(name, known) for name in moved)
        ),
        parameters=sum(each.values for each in fresh),
        held_bytes=sum(each.size_bytes for each in fresh if each.values),
    )


def _name(node: NodeProto) -> str:
    return node.name or next(iter(node.output), "")


def _read_bytes(name: str, known: _Known) -> int:
    """A part of a constant has its own size; a constant in fewer bits is read as it is stored."""
    stored = sum(each.size_bytes for each in known.made_of[name])
    return min(stored, _value_bytes(name, known) or stored)


def _dearer(branches: list[list[Layer]]) -> Iterator[Layer]:
    """All branches of an If, but only the costs of the one that costs most."""
    costs = [sum(each.macs for each in branch) for branch in branches]
    for index, branch in enumerate(branches):
        for each in branch:
            yield each if index == costs.index(max(costs)) else Layer(each.name, each.operator)


def _scope(graph: GraphProto, outer: _Known, scales: set[str]) -> _Known:
    """The tensors of ``graph`` over those of the graphs around it."""
    shapes, item_bytes = dict(outer.shapes), dict(outer.item_bytes)
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        item_bytes[value.name] = _item_bytes(kind.elem_type)
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    made_of = dict(outer.made_of)
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        item_bytes[tensor.name] = _item_bytes(tensor.data_type)
        made_of[tensor.name] = (_held(tensor, trained=tensor.name not in scales),)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            shapes[node.output[0]] = tuple(node.attribute[0].t.dims)
    return _Known(shapes, item_bytes, made_of, outer.used)


def _weights(graph: GraphProto, scales: set[str]) -> Iterator[TensorProto]:
    """Every trained tensor: not shapes, indices, scalars, scales and zero points."""
    scales = scales | _scales(graph)
    for tensor in graph.initializer:
        if tensor.name not in scales and _is_weight(tensor):
            yield tensor
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        for attribute in node.attribute:
            held = [each for each in of_attribute(attribute) if _is_weight(each)]
            if not scales.intersection(node.output):
                yield from held
        for body in subgraphs(node):
            yield from _weights(body, scales)


def _scales(graph: GraphProto) -> set[str]:
    return {name for node in graph.node if node.op_type in _SCALED for name in node.input[1:]}


def _macs(node: NodeProto, known: _Known) -> int:
    """Multiply-accumulates, or 0 for an operator without any or with unknown shapes."""
    shapes = [known.shapes.get(name) for name in node.input]
    made = known.shapes.get(node.output[0]) if node.output else None
    if node.op_type in _COSTS:
        return _COSTS[node.op_type](node, shapes, made)
    if (
        made
        and node.op_type in _CONVOLUTIONS
        and (kernel := _at(shapes, _CONVOLUTIONS[node.op_type]))
    ):
        return math.prod(made) * math.prod(kernel[1:])
    if made and node.op_type in _MATMULS and (given := _at(shapes, 0)):
        return math.prod(made) * given[-1]
    return 0


def _transposed_convolution(_: NodeProto, shapes: _Shapes, __: _Shape) -> int:
    given, kernel = _at(shapes, 0), _at(shapes, 1)
    return math.prod(given) * math.prod(kernel[1:]) if given and kernel else 0


def _gemm(node: NodeProto, shapes: _Shapes, made: _Shape) -> int:
    given = _at(shapes, 0)
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return math.prod(made) * given[0 if transposed else -1] if made and given else 0


def _packed_matmul(node: NodeProto, _: _Shapes, made: _Shape) -> int:
    inner = [each.i for each in node.attribute if each.name == "K"]
    return math.prod(made) * int(inner[0]) if made and inner else 0


def _recurrent(node: NodeProto, shapes: _Shapes, _: _Shape) -> int:
    given, kernel = _at(shapes, 0), _at(shapes, 1)
    if not given or not kernel:
        return 0
    directions, gated_size, input_size = kernel
    hidden_size = gated_size // _GATES[node.op_type]
    return given[0] * given[1] * directions * gated_size * (input_size + hidden_size)


def _einsum(node: NodeProto, shapes: _Shapes, _: _Shape) -> int:
    equation = next((each.s.decode(errors="replace") for each in node.attribute), "")
    sizes: dict[str, int] = {}
    for term, shape in zip(equation.split("->")[0].split(","), shapes, strict=False):
        if shape is None or "." in term:
            return 0
        sizes |= dict(zip(term.strip(), shape, strict=False))
    return math.prod(sizes.values())


_COSTS: dict[str, Callable[[NodeProto, _Shapes, _Shape], int]] = {
    "ConvTranspose": _transposed_convolution,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMulNBits": _packed_matmul,
    "QGemm": _gemm,
    **dict.fromkeys(_GATES, _recurrent),
}


def _at(shapes: _Shapes, index: int) -> _Shape:
    return shapes[index] if index < len(shapes) else None


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs inside a node: branches of an If, bodies of loops."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _is_weight(tensor: TensorProto) -> bool:
    return bool(tensor.dims) and tensor.data_type in _WEIGHT_TYPES


def _held(tensor: TensorProto, *, trained: bool) -> _Held:
    values = math.prod(tensor.dims)
    size_bytes: float = values * _item_bytes(tensor.data_type)
    return _Held(math.ceil(size_bytes), values if trained and _is_weight(tensor) else 0)


def _value_bytes(name: str, known: _Known) -> int:
    shape = known.shapes.get(name)
    return math.ceil(math.prod(shape) * known.item_bytes.get(name, 0)) if shape is not None else 0


def _item_bytes(data_type: int) -> float:
    if data_type in (TensorProto.INT4, TensorProto.UINT4):
        return 0.5
    if data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return 0
    return float(helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _dtype(data_type: int) -> str:
    name = str(TensorProto.DataType.Name(data_type)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
