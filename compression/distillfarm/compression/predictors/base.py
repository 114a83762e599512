"""What every loaded model can do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np

from distillfarm.compression.datasets import Array
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec

_BATCH = 256


class Predictor(ABC):
    """A loaded model."""

    signature: Signature

    @abstractmethod
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for one batch of the size that the model takes."""

    def __call__(
        self, inputs: Mapping[str, Array], report: Callable[[float], None] | None = None
    ) -> dict[str, Array]:
        """Outputs by name for any number of samples, in the model's own batches.

        ``report`` takes the share that is done.
        """
        fixed = self.signature.inputs[0].shape[0]
        size = fixed if fixed > 0 else _BATCH
        total = len(next(iter(inputs.values())))
        parts: dict[str, list[Array]] = {each.name: [] for each in self.signature.outputs}
        fitted = {each.name: _fitted(each, inputs[each.name]) for each in self.signature.inputs}
        for start in range(0, total, size):
            count = min(size, total - start)
            batch = {name: array[start : start + count] for name, array in fitted.items()}
            if fixed > count:  # a model of fixed batch size takes no smaller one
                batch = {name: _padded(array, fixed) for name, array in batch.items()}
            for name, array in self.run(batch).items():
                parts[name].append(np.asarray(array)[:count])
            if report is not None:
                report((start + count) / total)
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _fitted(spec: TensorSpec, array: Array) -> Array:
    """The array in the model's type: LiteRT takes int32 where PyTorch takes int64."""
    converted = array.astype(spec.dtype, copy=False)
    if converted.dtype.kind in "iu" and not np.array_equal(converted, array):
        raise ModelRejected(f"input {spec.name} is {spec.dtype} and cannot hold the data's values")
    return converted


def _padded(array: Array, size: int) -> Array:
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])
