"""Runs .tflite models with LiteRT on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from distillfarm.compression.datasets import Array
from distillfarm.compression.predictors.base import Predictor
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec


class TfLitePredictor(Predictor):
    """An interpreter; names are those of the model's first signature, else of its tensors.

    A quantised integer input or output is declared as the float32 that it stands for.
    """

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        kernels = OpResolverType.AUTO
        if plain:
            kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter = Interpreter(
                str(path), num_threads=threads, experimental_op_resolver_type=kernels
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelRejected(f"LiteRT cannot load the model: {error}") from error
        given, answers = self._names()
        self._inputs = {
            given.get(each["index"], each["name"]): each
            for each in self._interpreter.get_input_details()
        }
        self._outputs = {
            answers.get(each["index"], each["name"]): each
            for each in self._interpreter.get_output_details()
        }
        self.signature = Signature(
            tuple(_spec(name, each) for name, each in self._inputs.items()),
            tuple(_spec(name, each) for name, each in self._outputs.items()),
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One invocation with the shapes that the file states."""
        try:
            for name, detail in self._inputs.items():
                self._interpreter.set_tensor(detail["index"], _stored(inputs[name], detail))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelRejected(f"LiteRT cannot run the model: {error}") from error
        return {
            name: _real(self._interpreter.get_tensor(detail["index"]), detail)
            for name, detail in self._outputs.items()
        }

    def _names(self) -> tuple[dict[int, str], dict[int, str]]:
        """Names by tensor index; empty without a signature."""
        signatures = list(self._interpreter.get_signature_list())
        if not signatures:
            return {}, {}
        runner = self._interpreter.get_signature_runner(signatures[0])
        sides = (runner.get_input_details(), runner.get_output_details())
        given, answers = ({each["index"]: name for name, each in side.items()} for side in sides)
        return given, answers


def _spec(name: str, detail: dict[str, Any]) -> TensorSpec:
    dtype = "float32" if _scale(detail) else np.dtype(detail["dtype"]).name
    return TensorSpec(name, dtype, tuple(map(int, detail["shape"])))


def _scale(detail: dict[str, Any]) -> float:
    """The scale of a quantised integer tensor, 0 for any other."""
    return float(detail["quantization"][0])


def _stored(array: Array, detail: dict[str, Any]) -> Array:
    if not _scale(detail):
        return np.ascontiguousarray(array)
    scale, zero = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    whole = np.rint(array.astype(np.float32) / scale) + zero
    return np.asarray(np.clip(whole, limits.min, limits.max), detail["dtype"])


def _real(array: Array, detail: dict[str, Any]) -> Array:
    if not _scale(detail):
        return array
    scale, zero = detail["quantization"]
    return np.asarray((array.astype(np.float32) - zero) * scale, np.float32)
