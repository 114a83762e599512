"""Counts and times a PyTorch model by running it on zeros and listening to its operators."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from distillfarm.compression import torch_exports, torch_models
from distillfarm.compression.analysis.layers import Facts, Layer, by_bytes, sample_shape
from distillfarm.compression.analysis.profile import Runs, Timed, middle, timed_runs
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec

LOOKUPS = frozenset({"embedding", "index", "index_select", "gather", "select"})
"""They read the rows that they are asked for, not the table."""
_MARK = "distillfarm layer "
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


def facts(model: WorkingModel, signature: Signature) -> Facts:
    """Take a TORCH_EXPORT or a TORCH_MODULE apart."""
    return listen(subject(model), signature)


def times(model: WorkingModel, signature: Signature, runs: Runs) -> Timed:
    """Microseconds by layer for one batch, in PyTorch's own profile."""
    return clock(subject(model), signature, runs)


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


def listen(model: Subject, signature: Signature) -> Facts:
    """Run the model on zeros of ``signature`` and note every operator.

    Raises:
        ModelRejected: it does not run.
    """
    batch = max(1, signature.inputs[0].shape[0])
    listener = _Listener(model)
    # oneDNN's fused LSTM and the fused attention of CPUs hide their products from the listener.
    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        _run(model, signature, listener)
    sizes: Counter[str] = Counter()
    for _, tensor in (*model.weights, *model.buffers):
        if tensor.ndim:  # not the counters of batch normalisation
            sizes[str(tensor.dtype).removeprefix("torch.")] += tensor.nbytes
    layers = tuple(_per_sample(each, batch) for each in listener.layers)
    return Facts(model.parameters, layers, by_bytes(sizes))


def clock(model: Subject, signature: Signature, runs: Runs) -> Timed:
    """Microseconds by layer: kernels as torch.profiler times them.

    The listener marks every operator with its layer; only the time of the kernel below that mark
    counts, so that listening costs nothing.

    Raises:
        ModelRejected: it does not run.
    """
    whole_us = timed_runs(lambda: _run(model, signature, nullcontext()), runs)
    count = runs.profiled(len(whole_us))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for run in range(count):
            _run(model, signature, _Listener(model, mark=f"{_MARK}{run} "))
    samples: list[dict[str, float]] = [defaultdict(float) for _ in range(count)]
    for event in profiler.events() or ():
        if event.name.startswith(_MARK):
            run, name = event.name.removeprefix(_MARK).split(" ", 1)
            samples[int(run)][name] += sum(each.cpu_time_total for each in event.cpu_children)
    return Timed(middle(samples), len(samples), whole_us, f"torch.profiler {torch.__version__}")


def _run(model: Subject, signature: Signature, listening: Any) -> None:
    inputs = [_zeros(each) for each in signature.inputs]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(unfused())
        if isinstance(listening, _Listener):
            stack.enter_context(listening.following())
        stack.enter_context(listening)
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


class _Listener(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operator that reaches the dispatcher, under the name of its layer.

    That is the owner of the first weight that it reads, else the innermost module that runs, else
    the operator's own name with a number.
    """

    def __init__(self, model: Subject, *, mark: str = "") -> None:
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

    @contextmanager
    def following(self) -> Iterator[None]:
        """Know which module runs."""

        def enter(module: nn.Module, _: object) -> None:
            self._running.append(self._paths.get(id(module), ""))

        def leave(*_: object) -> None:
            self._running.pop()

        entering = nn.modules.module.register_module_forward_pre_hook(enter)
        leaving = nn.modules.module.register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            entering.remove()
            leaving.remove()

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


def owner(weight: str) -> str:
    """The layer that a weight of this name belongs to."""
    return weight.rpartition(".")[0] or weight


def memory(tensor: Tensor) -> int:
    """What a tensor shares with its views."""
    return tensor.untyped_storage().data_ptr()


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
    return replace(
        layer, macs=layer.macs // batch, activation_bytes=layer.activation_bytes // batch
    )
