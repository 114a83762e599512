"""Runs ExecuTorch programs on the CPU."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime, Verification

from distillfarm.compression.datasets import Array
from distillfarm.compression.exporters.executorch import INPUT_NAMES, OUTPUT_NAMES
from distillfarm.compression.predictors.base import Predictor
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec

_METHOD = "forward"
# The numbers of c10::ScalarType.
_DTYPES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32",
    7: "float64", 11: "bool",
}  # fmt: skip


class ExecuTorchPredictor(Predictor):
    """The method ``forward``; names are those that the exporter left in the file."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        del plain  # what is delegated was decided when the file was made
        portable_lib._unsafe_reset_threadpool(threads)
        try:
            self._program = Runtime.get().load_program(
                path, verification=Verification.InternalConsistency
            )
            self._method = self._program.load_method(_METHOD)
            names = {each: self._names(each) for each in (INPUT_NAMES, OUTPUT_NAMES)}
        except (RuntimeError, ValueError) as error:
            raise ModelRejected(f"ExecuTorch cannot load the model: {error}") from error
        metadata = self._method.metadata
        inputs = [metadata.input_tensor_meta(i) for i in range(metadata.num_inputs())]
        outputs = [metadata.output_tensor_meta(i) for i in range(metadata.num_outputs())]
        self.signature = Signature(
            tuple(map(_spec, names[INPUT_NAMES], inputs)),
            tuple(map(_spec, names[OUTPUT_NAMES], outputs)),
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One call of the method."""
        given = [
            torch.from_numpy(np.ascontiguousarray(inputs[each.name]))
            for each in self.signature.inputs
        ]
        try:
            answers = self._method.execute(given)
        except RuntimeError as error:
            raise ModelRejected(f"ExecuTorch cannot run the model: {error}") from error
        names = [each.name for each in self.signature.outputs]
        # The program's own memory, which the next call overwrites.
        return {name: each.numpy().copy() for name, each in zip(names, answers, strict=True)}

    def _names(self, method: str) -> list[str]:
        if method not in self._program.method_names:
            raise ModelRejected(
                f"the .pte file has no method {method} that names its tensors; export it here"
            )
        (text,) = self._program.load_method(method).execute([])
        return [str(each) for each in json.loads(text)]


def _spec(name: str, tensor: Any) -> TensorSpec:
    return TensorSpec(name, _DTYPES[tensor.dtype()], tuple(map(int, tensor.sizes())))
