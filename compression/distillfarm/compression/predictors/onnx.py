"""Runs ONNX models with ONNX Runtime on the CPU, its integers exact on every processor."""

import contextlib
from collections.abc import Mapping, Sequence
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
    {
        *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"),
        *("ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm", "QAttention"),
    }
)
_ROUNDED = "QuantizeLinear"
_DTYPES = {"float": "float32", "double": "float64"}


class OnnxPredictor(Predictor):
    """An inference session; its own names of inputs and outputs."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        attempts = [_options(threads, *each) for each in _attempts(_operators(path), plain)]
        try:
            self._session = _first_session(path, attempts)
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


def has_integer_kernels(path: Path) -> bool:
    """Whether an ONNX file multiplies integers, which not every processor does alike.

    One of quantised and restored floats does so once ONNX Runtime has optimised it.

    Raises:
        ModelRejected: it is none.
    """
    return not (_INTEGER_OPERATORS | {_ROUNDED}).isdisjoint(_operators(path))


def _operators(path: Path) -> frozenset[str]:
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except DecodeError as error:
        raise ModelRejected(f"{path.name} is no ONNX model: {error}") from error
    return frozenset(node.op_type for node in graph.node)


def _attempts(
    operators: frozenset[str], plain: bool
) -> Sequence[tuple[onnxruntime.GraphOptimizationLevel, bool]]:
    """How to load a model, with the level and whether with exact kernels, the best first.

    Exact kernels cannot be put where layers share their weights: loading fails then. A model of
    quantised and restored floats is exact without optimising, too; one of integers is not.
    """
    levels = onnxruntime.GraphOptimizationLevel
    most, none = levels.ORT_ENABLE_ALL, levels.ORT_DISABLE_ALL
    if not _INTEGER_OPERATORS.isdisjoint(operators):
        level = levels.ORT_ENABLE_EXTENDED if plain else most
        return (level, True), (none if plain else most, False)
    if plain:
        return ((none, False),)
    return ((most, True), (none, False)) if _ROUNDED in operators else ((most, False),)


def _options(
    threads: int, level: onnxruntime.GraphOptimizationLevel, exact: bool
) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    options.graph_optimization_level = level
    if exact:
        options.add_session_config_entry(*_EXACT_INTEGERS)
    return options


def _first_session(
    path: Path, attempts: Sequence[onnxruntime.SessionOptions]
) -> onnxruntime.InferenceSession:
    """The first that loads; the last one's failure where none does."""
    for options in attempts[:-1]:
        with contextlib.suppress(*_LOAD_FAILURES):
            return _session(path, options)
    return _session(path, attempts[-1])


def _session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _spec(argument: Any) -> TensorSpec:
    inner = argument.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    return TensorSpec(argument.name, _DTYPES.get(inner, inner), shape)
