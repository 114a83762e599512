"""Runs ONNX models with ONNX Runtime on the CPU, its integers exact on every processor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from google.protobuf.message import DecodeError
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
# x86 processors without VNNI multiply 8-bit integers with sums that overflow silently; phones and
# newer ones do not. This setting has them take exact kernels instead, which optimising puts there.
# https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "when and why do I
# need to try U8U8"
_EXACT_INTEGERS = ("session.x64quantprecision", "1")
_INTEGER_OPERATORS = frozenset(
    {"MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm", "QAttention"}
)
_DTYPES = {"float": "float32", "double": "float64"}


class OnnxPredictor(Predictor):
    """An inference session; its own names of inputs and outputs."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        exact = has_integer_kernels(path)
        try:
            try:
                self._session = _session(path, _options(threads, plain, exact))
            except _LOAD_FAILURES:
                # Exact kernels cannot be put where layers share their weights.
                if not exact:
                    raise
                self._session = _session(path, _options(threads, plain, exact=False))
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


def _session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _options(threads: int, plain: bool, exact: bool) -> onnxruntime.SessionOptions:
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    if exact:
        options.add_session_config_entry(*_EXACT_INTEGERS)
    if plain:
        options.graph_optimization_level = (
            levels.ORT_ENABLE_EXTENDED if exact else levels.ORT_DISABLE_ALL
        )
    return options


def has_integer_kernels(path: Path) -> bool:
    """Whether an ONNX file multiplies integers, which not every processor does alike.

    Raises:
        ModelRejected: it is none.
    """
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except DecodeError as error:
        raise ModelRejected(f"{path.name} is no ONNX model: {error}") from error
    return any(node.op_type in _INTEGER_OPERATORS for node in graph.node)


def _spec(argument: Any) -> TensorSpec:
    inner = argument.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    return TensorSpec(argument.name, _DTYPES.get(inner, inner), shape)
