"""Counts a PyTorch model by running it on zeros and listening to its operators."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from distillfarm.compression.analysis.layers import Facts, Layer, by_bytes
from distillfarm.compression.analysis.torch_subject import Subject, memory, owner, run, subject
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature

LOOKUPS = frozenset({"embedding", "index", "index_select", "gather", "select"})
"""They read the rows that they are asked for, not the table."""


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take a TORCH_EXPORT or a TORCH_MODULE apart."""
    return listen(subject(model), signature)


def listen(model: Subject, signature: Signature) -> Facts:
    """Run the model on zeros of ``signature`` and note every operator.

    Raises:
        ModelRejected: it does not run.
    """
    batch = max(1, signature.inputs[0].shape[0])
    # oneDNN's fused LSTM and the fused attention of CPUs hide their products from the listener.
    plain = torch.backends.mkldnn.flags(enabled=False)
    with plain, sdpa_kernel(SDPBackend.MATH), listening(model) as noted:
        run(model, signature)
    sizes: Counter[str] = Counter()
    for _, tensor in (*model.weights, *model.buffers):
        if tensor.ndim:  # not the counters of batch normalisation
            sizes[str(tensor.dtype).removeprefix("torch.")] += tensor.nbytes
    layers = tuple(_per_sample(each, batch) for each in noted.layers)
    return Facts(model.parameters, layers, by_bytes(sizes))


@contextmanager
def listening(model: Subject, mark: str = "") -> Iterator["Listener"]:
    """Notes what ``model`` does; with ``mark`` every operator is marked for PyTorch's profiler.

    The mark is that text and the name of the operator's layer.
    """
    listener = Listener(model, mark)
    entering = nn.modules.module.register_module_forward_pre_hook(listener.entered)
    leaving = nn.modules.module.register_module_forward_hook(listener.left, always_call=True)
    try:
        with listener:
            yield listener
    finally:
        entering.remove()
        leaving.remove()


class Listener(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operator that reaches the dispatcher, under the name of its layer.

    That is the owner of the first weight that it reads, else the innermost module that runs, else
    the operator's own name with a number.
    """

    def __init__(self, model: Subject, mark: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []
        self._mark = mark
        self._paths, self._kinds = model.paths, model.kinds
        self._running: list[str] = []
        self._numbers: Counter[str] = Counter()
        # Operators see views of weights, so weights are known by their memory.
        self._weights = {memory(each): (name, each) for name, each in model.weights}
        self._held = {memory(each): (name, each) for name, each in model.buffers} | self._weights
        self._read: set[int] = set()
        # Kept alive, so that no other tensor gets their memory.
        self._derived: list[Tensor] = []

    def entered(self, module: nn.Module, _: object) -> None:
        """Hook: ``module`` runs now."""
        self._running.append(self._paths.get(id(module), ""))

    def left(self, *_: object) -> None:
        """Hook: the module that was entered last has run."""
        self._running.pop()

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
        operator = str(packet).rpartition(".")[2]
        name = self._name(operator, (args, kwargs))
        with record_function(self._mark + name) if self._mark else nullcontext():
            result = func(*args, **kwargs)
        flops = 0
        if packet in flop_registry:
            flops = int(flop_registry[packet](*args, **kwargs, out_val=result))
        if not func.is_view:
            self._note(name, operator, flops // 2, (args, kwargs), result)
        else:
            self._note(name, operator, 0, (), ())
        self._follow((args, kwargs), result)
        return result

    def _follow(self, inputs: object, result: object) -> None:
        """What is made of one weight alone, a copy in another layout say, is still that weight."""
        origins = {id(each): each for each in map(self._origin, _tensors(inputs))}
        origin = next(iter(origins.values()), None)
        if len(origins) == 1 and origin is not None:
            for each in _tensors(result):
                if memory(each) not in self._held:
                    self._held[memory(each)] = origin
                    self._derived.append(each)

    def _origin(self, tensor: Tensor) -> tuple[str, Tensor] | None:
        return self._held.get(memory(tensor))

    def _name(self, operator: str, inputs: object) -> str:
        for each in _tensors(inputs):
            if (found := self._origin(each)) is not None:
                return owner(found[0])
        self._numbers[operator] += 1
        running = self._running[-1] if self._running else ""
        return running or f"{operator}_{self._numbers[operator]}"

    def _note(self, name: str, operator: str, macs: int, inputs: object, result: object) -> None:
        made_bytes = sum(each.nbytes for each in _tensors(result))
        given_bytes = weight_bytes = parameters = held_bytes = 0
        for each in _tensors(inputs):
            origin = self._origin(each)
            if origin is None:
                given_bytes += each.nbytes
                continue
            whole = origin[1]
            if memory(whole) not in self._read:
                # What is read again, step by step, comes from a cache.
                self._read.add(memory(whole))
                rows = operator in LOOKUPS
                weight_bytes += min(whole.nbytes, made_bytes) if rows else whole.nbytes
                if memory(whole) in self._weights:
                    parameters += whole.numel()
                    held_bytes += whole.nbytes
        moved = given_bytes + made_bytes
        self.layers.append(
            Layer(
                name,
                operator,
                macs,
                weight_bytes,
                moved,
                parameters,
                held_bytes,
                self._kinds.get(name, ""),
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


def _per_sample(layer: Layer, batch: int) -> Layer:
    return replace(
        layer, macs=layer.macs // batch, activation_bytes=layer.activation_bytes // batch
    )
