"""Runs ONNX models with ONNX Runtime on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from distillfarm.compression.datasets import Array
from distillfarm.compression.predictors.base import Predictor
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec

_LOAD_FAILURES = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)
_ERRORS_ONLY = 3
_DTYPES = {"float": "float32", "double": "float64"}


class OnnxPredictor(Predictor):
    """An inference session; its own names of inputs and outputs."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = _ERRORS_ONLY
        if plain:
            disabled = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = disabled
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except _LOAD_FAILURES as error:
            raise ModelRejected(f"ONNX Runtime cannot load the model: {error}") from error
        self.signature = Signature(
            tuple(map(_spec, self._session.get_inputs())),
            tuple(map(_spec, self._session.get_outputs())),
        )
        self._names = [each.name for each in self.signature.outputs]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One call of the session."""
        try:
            answers = self._session.run(self._names, dict(inputs))
        except _LOAD_FAILURES as error:
            raise ModelRejected(f"ONNX Runtime cannot run the model: {error}") from error
        return dict(zip(self._names, answers, strict=True))


def _spec(argument: Any) -> TensorSpec:
    inner = argument.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    return TensorSpec(argument.name, _DTYPES.get(inner, inner), shape)
