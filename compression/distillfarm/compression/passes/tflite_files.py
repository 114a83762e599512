"""What every .tflite quantiser needs to know of a file."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.utils import tfl_flatbuffer_utils

from distillfarm.compression.protocols import PassRefused

_MATRIX = 2
_FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)


@dataclass(frozen=True)
class Operator:
    """One operator: its kind, its name, how many numbers its float matrices hold.

    ``name`` is that of its outputs; ``width`` the last dimension of its matrix, 0 without one.
    """

    kind: qtyping.TFLOperationName
    name: str
    weights: int
    width: int


def scope(name: str) -> str:
    """The regular expression by which a recipe means the operator of this name alone."""
    return f"^{re.escape(name)};$"


def signature_key(path: Path) -> str:
    """The name of the model's first signature, by which samples are fed in.

    Raises:
        PassRefused: the file has none.
    """
    names = list(Interpreter(str(path)).get_signature_list())
    if not names:
        raise PassRefused("the .tflite file has no signature; convert the model again with one")
    return str(names[0])


def operators(path: Path) -> Iterator[Operator]:
    """The operators that ai-edge-quantizer knows, in the order of the file."""
    model = tfl_flatbuffer_utils.read_model(str(path))
    seen: set[int] = set()
    for graph in model.subgraphs:
        for each in graph.operators:
            code = model.operatorCodes[each.opcodeIndex].builtinCode
            if code not in tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME:
                continue
            weights = width = 0
            for index in (index for index in each.inputs if index >= 0):
                tensor = graph.tensors[index]
                data = model.buffers[tensor.buffer].data
                shape = [] if tensor.shape is None else list(map(int, tensor.shape))
                constant = data is not None and len(data) > 0
                if constant and tensor.type in _FLOATS and len(shape) >= _MATRIX:
                    width = shape[-1]
                    # A weight that two operators share counts once.
                    weights += 0 if tensor.buffer in seen else int(np.prod(shape))
                    seen.add(tensor.buffer)
            yield Operator(
                tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME[code],
                tfl_flatbuffer_utils.get_op_scope(each, graph.tensors).removesuffix(";"),
                weights,
                width,
            )


def float_weights(path: Path) -> Counter[str]:
    """How many numbers of float matrices each operator reads."""
    found: Counter[str] = Counter()
    for each in operators(path):
        found[each.kind.value] += each.weights
    return +found
