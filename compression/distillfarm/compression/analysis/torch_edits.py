"""Treats one layer of a model that runs on PyTorch, in place, and puts its weights back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from distillfarm.compression.analysis.layers import Layer, merged
from distillfarm.compression.analysis.sensitivity import Treatable
from distillfarm.compression.analysis.torch import LOOKUPS
from distillfarm.compression.analysis.torch_subject import (
    Subject,
    memory,
    owner,
    subject,
    unfused,
)
from distillfarm.compression.analysis.treatments import WEIGHTS
from distillfarm.compression.datasets import Samples
from distillfarm.compression.evaluation import Outputs
from distillfarm.compression.predictors.torch import ModulePredictor
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature

_MATRIX = 2
_STEPS = 255


def editor(model: WorkingModel, signature: Signature, layers: Sequence[Layer]) -> "TorchEditor":
    """The editor of a TORCH_MODULE or a TORCH_EXPORT."""
    return TorchEditor(subject(model), signature, layers, outputs_last=False)


class TorchEditor:
    """Layers by the names of the analysis; ``outputs_last`` tells Keras's layout of weights."""

    def __init__(
        self, model: Subject, signature: Signature, layers: Sequence[Layer], *, outputs_last: bool
    ) -> None:
        self._predictor = ModulePredictor(model.call, signature)
        self._outputs_last = outputs_last
        self._weights: dict[str, list[Tensor]] = {}
        self._own: dict[str, set[int]] = {}
        for name, each in model.weights:
            self._own.setdefault(owner(name), set()).add(memory(each))
            if each.ndim >= _MATRIX and each.is_floating_point():
                self._weights.setdefault(owner(name), []).append(each)
        known = {each.name: each for each in merged(layers, {})}
        working = [each.name for each in known.values() if each.macs and each.name in self._weights]
        self._tables = {name for name in self._weights if _is_table(known.get(name))}
        self.layers = tuple(
            Treatable(
                name,
                sum(each.numel() for each in self._weights[name]),
                # What makes the outputs cannot lose any, nor can a recurrent layer its gates.
                prunable=len(self._weights[name]) == 1 and name in working[:-1],
            )
            for name in (*working, *sorted(self._tables))
        )

    def answers(self, samples: Samples, layer: str = "", technique: str = "") -> Outputs:
        """Outputs with ``layer`` treated; with no layer, the model's own."""
        with unfused(), torch.backends.mkldnn.flags(enabled=False):
            if not layer:
                return self._predictor(samples.inputs)
            rounding = technique == "int8" and layer not in self._tables
            watching = _Rounding(self._own[layer]) if rounding else nullcontext()
            with self._treated(layer, technique), watching:
                return self._predictor(samples.inputs)

    @contextmanager
    def _treated(self, layer: str, technique: str) -> Iterator[None]:
        kept = [each.detach().clone() for each in self._weights[layer]]
        try:
            with torch.no_grad():
                for each in self._weights[layer]:
                    each.copy_(self._changed(each, technique, layer in self._tables))
            yield
        finally:
            with torch.no_grad():
                for each, before in zip(self._weights[layer], kept, strict=True):
                    each.copy_(before)

    def _changed(self, weight: Tensor, technique: str, table: bool) -> Tensor:
        values = weight.detach().float().numpy()
        last = self._outputs_last and not table
        turned = np.moveaxis(values, -1, 0) if last else values
        matrix = WEIGHTS[technique](turned.reshape(len(turned), -1)).reshape(turned.shape)
        return torch.from_numpy(
            np.ascontiguousarray(np.moveaxis(matrix, 0, -1) if last else matrix)
        )


class _Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Rounds what a layer's products take in to 8 bits, over the range that it has."""

    def __init__(self, own: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._own = own

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        tensors = [each for each in args if isinstance(each, Tensor)]
        if not func.is_view and any(memory(each) in self._own for each in tensors):
            args = tuple(
                _rounded(each)
                if isinstance(each, Tensor) and memory(each) not in self._own
                else each
                for each in args
            )
        return func(*args, **(kwargs or {}))


def _rounded(values: Tensor) -> Tensor:
    if not values.is_floating_point() or not values.numel():
        return values
    low, high = values.amin().clamp(max=0), values.amax().clamp(min=0)
    scale = ((high - low) / _STEPS).clamp(min=torch.finfo(values.dtype).tiny)
    return ((values - low) / scale).round() * scale + low


def _is_table(layer: Layer | None) -> bool:
    return layer is not None and layer.operator.lower() in LOOKUPS
