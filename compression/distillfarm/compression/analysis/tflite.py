"""Counts a TFLite model from its flatbuffer."""

import math
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from distillfarm.compression.analysis.layers import Facts, Layer, by_bytes
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
_TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if name[0] != "_"}
_BITS = {
    "float32": 32, "float16": 16, "bfloat16": 16, "int32": 32, "uint32": 32, "int64": 64,
    "uint8": 8, "int8": 8, "bool": 8, "int16": 16, "uint16": 16, "float64": 64, "int4": 4,
    "uint4": 4, "int2": 2, "complex64": 64, "complex128": 128, "uint64": 64,
}  # fmt: skip
_WEIGHT_TYPES = ("float32", "float16", "bfloat16", "int8", "uint8", "int4", "int2", "int16")
_LSTM_GATES = 4
_VIEWS = frozenset({"EXPAND_DIMS", "RESHAPE", "SQUEEZE"})
# They read the rows that they are asked for, not the table.
_LOOKUPS = frozenset({"EMBEDDING_LOOKUP", "GATHER", "GATHER_ND"})
_Shapes = list[tuple[int, ...]]


@dataclass(frozen=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: int
    held_bytes: int
    scaled: bool

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * _BITS.get(self.dtype, 0) // 8

    @property
    def is_weight(self) -> bool:
        """Constants but those that hold shapes and indices."""
        scaled_bias = self.dtype == "int32" and self.scaled
        return self.held_bytes > 0 and (self.dtype in _WEIGHT_TYPES or scaled_bias)


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take a .tflite file apart, all its subgraphs included."""
    batch = max(1, signature.inputs[0].shape[0])
    try:
        root = schema.Model.GetRootAs(model.path.read_bytes(), 0)
        codes = [_operator(root.OperatorCodes(i)) for i in range(root.OperatorCodesLength())]
        layers: list[Layer] = []
        weights: dict[int, _Tensor] = {}
        used: set[int] = set()
        for i in range(root.SubgraphsLength()):
            graph = root.Subgraphs(i)
            tensors = [_tensor(root, graph.Tensors(j)) for j in range(graph.TensorsLength())]
            # Two tensors may share one buffer: it is counted once.
            weights |= {each.buffer: each for each in tensors if each.is_weight}
            layers += _layers(graph, tensors, codes, batch, used)
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ModelRejected(f"the TFLite file is damaged: {error}") from error
    sizes: Counter[str] = Counter()
    for each in weights.values():
        sizes[each.dtype] += each.held_bytes
    parameters = sum(math.prod(each.shape) for each in weights.values())
    return Facts(parameters, tuple(layers), by_bytes(sizes))


def _layers(
    graph: Any, tensors: list[_Tensor], codes: list[str], batch: int, used: set[int]
) -> Iterator[Layer]:
    """``used`` are the buffers of weights that a layer has used before."""
    # Weights in FP16 reach their operator through a DEQUANTIZE.
    carried = {id(each): each for each in tensors if each.is_weight}
    for i in range(graph.OperatorsLength()):
        node = graph.Operators(i)
        operator = codes[node.OpcodeIndex()]
        given = [tensors[j] for j in map(int, _list(node.InputsAsNumpy())) if j >= 0]
        made = [tensors[j] for j in map(int, _list(node.OutputsAsNumpy())) if j >= 0]
        weights = [carried[id(each)] for each in given if id(each) in carried]
        if operator == "DEQUANTIZE" and weights and made:
            carried[id(made[0])] = weights[0]
            yield Layer(made[0].name, operator)
            continue
        read = sum(each.held_bytes for each in weights)
        moved = [each for each in (*given, *made) if id(each) not in carried]
        fresh = {each.buffer: each for each in weights if each.buffer not in used}
        used.update(fresh)
        yield Layer(
            name=made[0].name if made else operator,
            operator=operator,
            macs=_macs(operator, given, made) // batch,
            weight_bytes=(
                min(read, sum(each.size_bytes for each in made)) if operator in _LOOKUPS else read
            ),
            activation_bytes=(
                0
                if operator in _VIEWS
                else sum(each.size_bytes for each in moved if not each.held_bytes) // batch
            ),
            parameters=sum(math.prod(each.shape) for each in fresh.values()),
            held_bytes=sum(each.held_bytes for each in fresh.values()),
        )


def _macs(operator: str, given: list[_Tensor], made: list[_Tensor]) -> int:
    cost = _COSTS.get(operator)
    return cost([each.shape for each in given], made[0].shape) if cost and made else 0


def _lstm(given: _Shapes, made: tuple[int, ...]) -> int:
    hidden_size, steps = made[-1], math.prod(given[0][:-1])
    return _LSTM_GATES * steps * hidden_size * (given[0][-1] + hidden_size)


# From the shapes of the inputs and of the first output; kernels are [out, height, width, in].
_COSTS: dict[str, Callable[[_Shapes, tuple[int, ...]], int]] = {
    "BATCH_MATMUL": lambda given, made: math.prod(made) * given[0][-1],
    "CONV_2D": lambda given, made: math.prod(made) * math.prod(given[1][1:]),
    "CONV_3D": lambda given, made: math.prod(made) * math.prod(given[1][:4]),
    "DEPTHWISE_CONV_2D": lambda given, made: math.prod(made) * math.prod(given[1][1:3]),
    "FULLY_CONNECTED": lambda given, made: math.prod(made) * given[1][-1],
    "TRANSPOSE_CONV": lambda given, _: math.prod(given[2]) * math.prod(given[1][:3]),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}


def _operator(code: Any) -> str:
    custom = code.CustomCode()
    if custom:
        return str(custom.decode(errors="replace"))
    # Files from before 2020 know only the old field.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return str(_OPERATORS.get(number, f"operator {number}"))


def _tensor(root: Any, tensor: Any) -> _Tensor:
    buffer = root.Buffers(tensor.Buffer())
    quantisation = tensor.Quantization()
    name = tensor.Name()
    return _Tensor(
        name=name.decode(errors="replace") if name else "",
        dtype=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
        shape=tuple(map(int, _list(tensor.ShapeAsNumpy()))),
        buffer=tensor.Buffer(),
        held_bytes=max(buffer.DataLength(), buffer.Size()),
        scaled=quantisation is not None and quantisation.ScaleLength() > 0,
    )


def _list(array: Any) -> Any:
    # An absent vector is 0 in the generated code.
    return [] if isinstance(array, int) else array
