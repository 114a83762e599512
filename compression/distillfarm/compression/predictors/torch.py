"""Runs PyTorch models of both forms on the CPU."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from distillfarm.compression import torch_exports, torch_models
from distillfarm.compression.datasets import Array
from distillfarm.compression.predictors.base import Predictor
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature


class ModulePredictor(Predictor):
    """A module in evaluation mode, or what is called like one, with its inputs by position."""

    def __init__(self, module: Callable[..., object], signature: Signature) -> None:
        self._module = module
        self.signature = signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One forward pass without gradients."""
        given = [
            torch.from_numpy(np.ascontiguousarray(inputs[each.name]))
            for each in self.signature.inputs
        ]
        try:
            with torch.inference_mode():
                answers = torch_models.named_outputs(self._module(*given), self.signature)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelRejected(f"PyTorch cannot run the model: {error}") from error
        names = [each.name for each in self.signature.outputs]
        return {name: each.numpy() for name, each in zip(names, answers, strict=True)}


class TorchModulePredictor(ModulePredictor):
    """A TORCH_MODULE file."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        del plain  # eager PyTorch has nothing to turn off
        torch.set_num_threads(threads)
        model = torch_models.read(path)
        super().__init__(model.module, model.spec.signature)


class TorchExportPredictor(ModulePredictor):
    """A TORCH_EXPORT file."""

    def __init__(self, path: Path, threads: int, plain: bool) -> None:
        del plain
        torch.set_num_threads(threads)
        program = torch_exports.read(path)
        super().__init__(program.module(), torch_exports.signature(program))
