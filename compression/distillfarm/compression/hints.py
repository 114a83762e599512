"""What a student may learn from inside its teacher: hidden states and attention maps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from distillfarm.compression.protocols import PassRefused

_MOST_PAIRS = 4
_MAP_RANK = 3
_TINY = 1e-6
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CHANNEL_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)
_NORMS = (*_CHANNEL_NORMS, nn.LayerNorm, nn.RMSNorm)
_WEIGHTED = (*_CONVOLUTIONS, nn.Linear, nn.RNNBase)
_POOLS = {
    1: functional.adaptive_avg_pool1d,
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}


@dataclass(frozen=True)
class HintWeights:
    """How much each part counts beside the loss of the answers; 0 leaves it out."""

    features: float
    attention: float


@dataclass(frozen=True)
class Insides:
    """One forward pass seen from inside, each list in the order of the computation.

    ``states`` are float [batch, ..., channels]: what goes into the norms of a module, or into its
    layers with weights but the first where it has no norms. ``maps`` are [batch, query, key], the
    mean over the heads.
    """

    states: list[Tensor] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)


@contextmanager
def recorded(module: nn.Module) -> Iterator[Insides]:
    """The insides of every call of ``module`` within."""
    found = Insides()

    def take(layer: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor):
            leading = isinstance(layer, (*_CONVOLUTIONS, *_CHANNEL_NORMS))
            found.states.append(given[0].movedim(1, -1) if leading else given[0])

    norms = [each for each in module.modules() if isinstance(each, _NORMS)]
    layers = norms or [each for each in module.modules() if isinstance(each, _WEIGHTED)][1:]
    handles = [each.register_forward_pre_hook(take) for each in layers]
    try:
        with _Attention(found.maps):
            yield found
    finally:
        for handle in handles:
            handle.remove()


class Hints:
    """Compares a student's insides with its teacher's, both of them PyTorch modules.

    Layers are matched by relative depth. Hidden states go through a learned projection first
    (FitNets, Romero et al., arXiv:1412.6550); attention maps are compared by their divergence, as
    in MiniLM (Wang et al., arXiv:2002.10957).
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        weights: HintWeights,
        example: Sequence[Tensor],
    ) -> None:
        """Match the layers by one batch.

        Raises:
            PassRefused: one of the two has no such insides, or none that can be compared.
        """
        self._teacher = teacher.eval()
        self._student = student
        self._weights = weights
        self._seen = Insides()
        with torch.no_grad():
            with recorded(teacher) as theirs:
                teacher(*example)
            with recorded(student.eval()) as ours:
                student(*example)
        self.projections = nn.ModuleList()
        self._states: list[tuple[int, int]] = []
        self._maps: list[tuple[int, int]] = []
        if weights.features:
            self._states = _pairs(ours.states, theirs.states, len(example[0]))
            _refuse_none(self._states, "features", "hidden states of the same kind")
            for mine, other in self._states:
                sizes = ours.states[mine].shape[-1], theirs.states[other].shape[-1]
                self.projections.append(nn.Linear(*sizes, bias=False))
        if weights.attention:
            same = len({tuple(each.shape[1:]) for each in (*ours.maps, *theirs.maps)}) == 1
            self._maps = _pairs(ours.maps, theirs.maps if same else [], len(example[0]))
            _refuse_none(self._maps, "attention", "attention maps of the same length")

    def matched(self) -> str:
        """What is compared, in words."""
        return (
            f"compared inside: {len(self._states)} hidden states and {len(self._maps)} attention"
            " maps, matched by relative depth"
        )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The student's next forward pass, run within, is what ``loss`` compares."""
        with recorded(self._student) as self._seen:
            yield

    def loss(self, inputs: Sequence[Tensor]) -> Tensor:
        """The weighted distance for the batch that was just watched: a scalar."""
        with torch.no_grad(), recorded(self._teacher) as theirs:
            self._teacher(*inputs)
        total = torch.zeros(())
        for (mine, other), projection in zip(self._states, self.projections, strict=True):
            distance = _state_distance(
                projection, self._seen.states[mine], theirs.states[other].detach()
            )
            total = total + self._weights.features * distance / len(self._states)
        for mine, other in self._maps:
            distance = _map_distance(self._seen.maps[mine], theirs.maps[other].detach())
            total = total + self._weights.attention * distance / len(self._maps)
        return total


class _Attention(TorchFunctionMode):
    """Notes the weights of every attention that is computed, whichever function does it."""

    def __init__(self, maps: list[Tensor]) -> None:
        super().__init__()
        self._maps = maps

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            self._note(_weights(*args, **given))
        if func is functional.multi_head_attention_forward:
            asked = given.get("need_weights", True)
            wanted = {**given, "need_weights": True, "average_attn_weights": True}
            answer, weights = func(*args, **wanted)
            if weights is not None:
                self._note(weights)
            return answer, weights if asked else None
        result = func(*args, **given)
        if func in {torch.softmax, functional.softmax, Tensor.softmax}:
            square = result.ndim > _MAP_RANK and result.shape[-1] == result.shape[-2]
            if square:
                self._note(result)
        return result

    def _note(self, weights: Tensor) -> None:
        self._maps.append(weights if weights.ndim <= _MAP_RANK else weights.mean(dim=1))


def _weights(  # noqa: PLR0917
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """What ``scaled_dot_product_attention`` weighs ``value`` with, by its documentation."""
    del value, dropout_p
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    factor = scale if scale is not None else query.shape[-1] ** -0.5
    scores = query @ key.transpose(-2, -1) * factor
    if is_causal:
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(ahead, float("-inf"))
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, float("-inf")) if masked else scores + attn_mask
    return scores.softmax(dim=-1)


def _pairs(ours: Sequence[Tensor], theirs: Sequence[Tensor], batch: int) -> list[tuple[int, int]]:
    """Indices of the student's and the teacher's layers at about the same relative depth."""
    count = min(len(ours), _MOST_PAIRS) if theirs else 0
    chosen = [round((number + 1) * len(ours) / count) - 1 for number in range(count)]
    pairs = []
    for mine in chosen:
        depth = (mine + 1) / len(ours)
        alike = [
            index
            for index, each in enumerate(theirs)
            if each.ndim == ours[mine].ndim and len(each) == len(ours[mine]) == batch
        ]
        if alike:
            other = min(alike, key=lambda index: abs((index + 1) / len(theirs) - depth))
            pairs.append((mine, other))
    return pairs


def _refuse_none(pairs: Sequence[tuple[int, int]], setting: str, what: str) -> None:
    if not pairs:
        raise PassRefused(
            f"{setting}: teacher and student have no {what}; learn from soft labels alone"
            f" ({setting}=0)"
        )


def _state_distance(projection: nn.Module, mine: Tensor, other: Tensor) -> Tensor:
    """Squared error in parts of the teacher's variance."""
    sizes = [min(pair) for pair in zip(mine.shape[1:-1], other.shape[1:-1], strict=True)]
    projected = projection(_pooled(mine, sizes))
    target = _pooled(other, sizes)
    return functional.mse_loss(projected, target) / (target.var() + _TINY)


def _pooled(states: Tensor, sizes: list[int]) -> Tensor:
    if list(states.shape[1:-1]) == sizes:
        return states
    pool: Any = _POOLS[len(sizes)]
    pooled: Tensor = pool(states.movedim(-1, 1), sizes)
    return pooled.movedim(1, -1)


def _map_distance(mine: Tensor, other: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's map, the mean over queries."""
    each = functional.kl_div((mine + _TINY).log(), other, reduction="none")
    return each.sum(dim=-1).mean()
