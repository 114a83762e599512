"""Runs Core AI models on the CPU of this computer."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from coreai.runtime import NDArray, NDArrayDescriptor

from distillfarm.compression import coreai_models
from distillfarm.compression.datasets import Array
from distillfarm.compression.predictors.base import Predictor
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec

_FUNCTION = "main"


class CoreAiPredictor(Predictor):
    """The function ``main``, compiled when it is opened; inferences are waited for one by one."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        del threads, plain  # the runtime offers neither
        self._loop = asyncio.new_event_loop()
        self._folder = TemporaryDirectory()
        # What is compiled stays on disk for as long as this is open.
        self._opened = coreai_models.load(path, Path(self._folder.name)).executable()
        try:
            model = self._loop.run_until_complete(self._opened.__aenter__())
            self._function = model.load_function(_FUNCTION)
        except (RuntimeError, KeyError) as error:
            raise ModelRejected(f"Core AI cannot load the model: {error}") from error
        told = self._function.desc
        if told.state_names:
            raise ModelRejected(f"the model keeps a state between inferences: {told.state_names}")
        self.signature = Signature(
            tuple(_spec(name, told.input_descriptor(name)) for name in told.input_names),
            tuple(_spec(name, told.output_descriptor(name)) for name in told.output_names),
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One inference."""
        given = {name: NDArray(np.ascontiguousarray(each)) for name, each in inputs.items()}
        try:
            answers = self._loop.run_until_complete(self._function(given))
        except RuntimeError as error:
            raise ModelRejected(f"Core AI cannot run the model: {error}") from error
        return {name: each.numpy().copy() for name, each in answers.items()}


def _spec(name: str, array: NDArrayDescriptor) -> TensorSpec:
    shape = tuple(-1 if size is None else size for size in array.shape)
    return TensorSpec(name, array.dtype, shape)
