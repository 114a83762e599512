"""A model that runs on PyTorch, opened for a look: its weights, its modules, one run on zeros."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from distillfarm.compression import torch_exports, torch_models
from distillfarm.compression.analysis.layers import sample_shape
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec

_LIBRARY = "torch.nn."


@dataclass(frozen=True)
class Subject:
    """A model that runs on PyTorch: how to call it, what it holds, its modules.

    ``paths`` are by the module's id, ``kinds`` the classes of PyTorch's own layers by path.
    """

    call: Callable[..., object]
    weights: Sequence[tuple[str, Tensor]]
    buffers: Sequence[tuple[str, Tensor]]
    parameters: int
    paths: Mapping[int, str]
    kinds: Mapping[str, str]


def subject(model: WorkingModel) -> Subject:
    """A TORCH_EXPORT or a TORCH_MODULE, opened."""
    if model.format is ModelFormat.TORCH_EXPORT:
        program = torch_exports.read(model.path)
        # Weights that tracing turned into constants of the graph are still weights.
        constants = [
            (name, each)
            for name, each in program.constants.items()
            if isinstance(each, Tensor) and each.is_floating_point()
        ]
        weights = [*program.named_parameters(), *constants]
        parameters = sum(each.numel() for _, each in weights)
        return Subject(program.module(), weights, list(program.named_buffers()), parameters, {}, {})
    module = torch_models.read(model.path).module
    return Subject(
        module,
        list(module.named_parameters()),
        list(module.named_buffers()),
        torch_models.parameter_count(module),
        {id(each): path for path, each in module.named_modules()},
        {
            path: type(each).__name__
            for path, each in module.named_modules()
            if type(each).__module__.startswith(_LIBRARY)
        },
    )


def run(model: Subject, signature: Signature) -> None:
    """Call the model on zeros of ``signature``.

    Raises:
        ModelRejected: it does not run.
    """
    inputs = [_zeros(each) for each in signature.inputs]
    with torch.no_grad(), unfused():
        try:
            model.call(*inputs)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelRejected(f"PyTorch cannot run the model: {error}") from error


@contextmanager
def unfused() -> Iterator[None]:
    """Without the fast path of nn.TransformerEncoderLayer, which is one operator of many layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def owner(weight: str) -> str:
    """The layer that a weight of this name belongs to."""
    return weight.rpartition(".")[0] or weight


def memory(tensor: Tensor) -> int:
    """What a tensor shares with its views."""
    return tensor.untyped_storage().data_ptr()


def _zeros(spec: TensorSpec) -> Tensor:
    return torch.zeros(sample_shape(spec.shape), dtype=getattr(torch, spec.dtype))
