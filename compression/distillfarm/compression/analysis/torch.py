"""Counts a PyTorch model by running it once on zeros and listening to its operators."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from distillfarm.compression import torch_exports, torch_models
from distillfarm.compression.analysis.layers import Facts, Layer, by_bytes, sample_shape
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take a TORCH_EXPORT or a TORCH_MODULE apart."""
    if model.format is ModelFormat.TORCH_EXPORT:
        program = torch_exports.read(model.path)
        module: nn.Module = program.module()
        weights = [(name, each) for name, each in program.named_parameters()]
        constants = [each for each in program.constants.values() if isinstance(each, Tensor)]
        named = [*weights, *program.named_buffers()]
        parameters = sum(each.numel() for _, each in weights)
        # Weights that tracing turned into constants of the graph are still weights.
        parameters += sum(each.numel() for each in constants if each.is_floating_point())
    else:
        module = torch_models.read(model.path).module
        named = [*module.named_parameters(), *module.named_buffers()]
        parameters = torch_models.parameter_count(module)
    return listen(module, signature, named, parameters)


def listen(
    call: Callable[..., object],
    signature: Signature,
    named: Sequence[tuple[str, Tensor]],
    parameters: int,
) -> Facts:
    """Run ``call`` on zeros of ``signature``, with ``named`` weights, and note every operator.

    Raises:
        ModelRejected: it does not run.
    """
    inputs = [_zeros(each) for each in signature.inputs]
    batch = max(1, signature.inputs[0].shape[0])
    listener = _Listener(named)
    try:
        # oneDNN's fused LSTM hides its products from the listener.
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), listener:
            call(*inputs)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelRejected(f"PyTorch cannot run the model: {error}") from error
    sizes: Counter[str] = Counter()
    for _, tensor in named:
        if tensor.ndim:  # not the counters of batch normalisation
            sizes[str(tensor.dtype).removeprefix("torch.")] += tensor.nbytes
    return Facts(
        parameters, tuple(_per_sample(each, batch) for each in listener.layers), by_bytes(sizes)
    )


class _Listener(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operator that reaches the dispatcher."""

    def __init__(self, named: Sequence[tuple[str, Tensor]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []
        # Operators see views of weights, so weights are known by their memory.
        self._names = {
            each.untyped_storage().data_ptr(): name.rpartition(".")[0] or name
            for name, each in named
        }

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet not in flop_registry:
            # Composite operators are taken apart, as PyTorch's own counter does.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        flops = 0
        if packet in flop_registry:
            flops = int(flop_registry[packet](*args, **kwargs, out_val=result))
        self._note(str(packet).rpartition(".")[2], flops // 2, (args, kwargs), result)
        return result

    def _note(self, operator: str, macs: int, inputs: object, result: object) -> None:
        weights, activation_bytes, name = 0, 0, ""
        for each in _tensors(inputs):
            owner = self._names.get(each.untyped_storage().data_ptr())
            if owner is None:
                activation_bytes += each.nbytes
            else:
                weights += each.nbytes
                name = name or owner
        activation_bytes += sum(each.nbytes for each in _tensors(result))
        self.layers.append(
            Layer(
                name or f"{operator}_{len(self.layers)}", operator, macs, weights, activation_bytes
            )
        )


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _zeros(spec: TensorSpec) -> Tensor:
    return torch.zeros(sample_shape(spec.shape), dtype=getattr(torch, spec.dtype))


def _per_sample(layer: Layer, batch: int) -> Layer:
    return Layer(
        layer.name,
        layer.operator,
        layer.macs // batch,
        layer.weight_bytes,
        layer.activation_bytes // batch,
    )
