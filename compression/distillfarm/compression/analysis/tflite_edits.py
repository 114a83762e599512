"""Treats one layer of a TFLite model: the float32 weights in its buffers."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.utils import tfl_flatbuffer_utils

from distillfarm.compression.analysis.layers import Layer
from distillfarm.compression.analysis.sensitivity import Treatable
from distillfarm.compression.analysis.treatments import WEIGHTS
from distillfarm.compression.datasets import Samples
from distillfarm.compression.evaluation import Outputs
from distillfarm.compression.predictors.tflite import TfLitePredictor
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature

_BUILTIN = schema.BuiltinOperator
# Which input is the weights, and on which of its axes the outputs lie.
_KINDS = {
    _BUILTIN.CONV_2D: (1, 0),
    _BUILTIN.DEPTHWISE_CONV_2D: (1, -1),
    _BUILTIN.EMBEDDING_LOOKUP: (1, 0),
    _BUILTIN.FULLY_CONNECTED: (1, 0),
    _BUILTIN.GATHER: (0, 0),
    _BUILTIN.TRANSPOSE_CONV: (1, 0),
}
_TABLES = (_BUILTIN.EMBEDDING_LOOKUP, _BUILTIN.GATHER)
_MATRIX = 2


def editor(model: WorkingModel, signature: Signature, layers: Sequence[Layer]) -> "TfLiteEditor":
    """The editor of a .tflite file."""
    del signature, layers
    return TfLiteEditor(model.path)


class TfLiteEditor:
    """Layers of the first subgraph by the names of the analysis.

    INT8 rounds weights alone here: the file has no place for rounding what a layer takes in.
    """

    def __init__(self, path: Path) -> None:
        self._model: Any = tfl_flatbuffer_utils.read_model(str(path))
        graph = self._model.subgraphs[0]
        self._weights: dict[str, tuple[Any, tuple[int, ...], int]] = {}
        working: list[str] = []
        for node in graph.operators:
            kind = self._model.operatorCodes[node.opcodeIndex].builtinCode
            if kind not in _KINDS:
                continue
            position, axis = _KINDS[kind]
            tensor = graph.tensors[node.inputs[position]]
            buffer = self._model.buffers[tensor.buffer]
            shape = () if tensor.shape is None else tuple(map(int, tensor.shape))
            constant = buffer.data is not None and len(buffer.data) > 0
            if not constant or tensor.type != schema.TensorType.FLOAT32 or len(shape) < _MATRIX:
                continue
            name = graph.tensors[node.outputs[0]].name.decode(errors="replace")
            self._weights[name] = (buffer, shape, axis)
            if kind not in _TABLES:
                working.append(name)
        self.layers = tuple(
            Treatable(name, int(np.prod(shape)), prunable=name in working[:-1])
            for name, (_, shape, _) in self._weights.items()
        )

    def answers(self, samples: Samples, layer: str = "", technique: str = "") -> Outputs:
        """Outputs with ``layer`` treated; with no layer, the model's own."""
        if not layer:
            return self._run(samples)
        buffer, shape, axis = self._weights[layer]
        kept = buffer.data
        values = np.frombuffer(bytes(kept), np.float32).reshape(shape)
        turned = np.moveaxis(values, axis, 0)
        matrix = WEIGHTS[technique](turned.reshape(len(turned), -1)).reshape(turned.shape)
        changed = np.ascontiguousarray(np.moveaxis(matrix, 0, axis), np.float32)
        buffer.data = np.frombuffer(changed.tobytes(), np.uint8)
        try:
            return self._run(samples)
        finally:
            buffer.data = kept

    def _run(self, samples: Samples) -> Outputs:
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / "treated.tflite"
            tfl_flatbuffer_utils.write_model(self._model, str(path))
            return TfLitePredictor(path, 1, plain=False)(samples.inputs)
