"""Which widths of a module can shrink, found by taking some out and comparing the answers.

torch-pruning follows a module's graph to what must go together (Fang et al., arXiv:2301.12900). It
takes most operators for element-wise, so every cut is checked here: the smaller module must answer
like the old one whose later layers ignore the same channels. A cut that mixes up heads, or changes
what a normalisation over channels sees, does not; it is taken back and its layer left alone.
"""

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.dependency import Group
from torch_pruning.pruner import function

from distillfarm.compression.torch_answers import MISFITS, answers, distance, same
from distillfarm.domain.model import Signature

Importance = Callable[[Group], Tensor | None]
"""Scores [channels] of a group that holds all channels of its first layer."""

_ROOTS = (nn.Linear, nn.Conv1d, nn.Conv2d)
_READS_CHANNELS = (function.prune_linear_in_channels, function.prune_conv_in_channels)
# A cut that moves the answers by less proves nothing; one that is right is off by rounding alone,
# one that is wrong by as much as it moves them.
_FELT, _SHARE_OF_MOVE, _ROUNDING = 1e-4, 0.02, 1e-5
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)


class Obstacle(Enum):
    """Why a layer keeps its width."""

    OUTPUT = "it makes the model's outputs"
    TIED = "its width is that of weights used in more than one layer"
    GROUPED = "its channels are convolved in groups"
    MIXED = "what follows depends on all of its channels, or on a width written into the code"
    SILENT = "the answers hardly depend on half of it, so no cut can be checked"
    RECURRENT = "it is recurrent or feeds what is; distil to a smaller one"


@dataclass(frozen=True)
class Width:
    """The channels that ``layer`` makes: ``units`` of ``span`` each, which go as a whole.

    A unit of more than one channel is an attention head; ``numbers`` are then the attributes that
    count heads or their channels, as (module, attribute). ``importance`` is float32 [units].
    """

    layer: str
    units: int
    importance: Tensor
    span: int = 1
    numbers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Found:
    """Widths that can shrink, and the layers whose cannot, with the reason."""

    widths: tuple[Width, ...]
    left: tuple[tuple[str, Obstacle], ...]


class Widths:
    """The widths of ``module``, found and cut on ``inputs``, a few real samples."""

    def __init__(self, module: nn.Module, signature: Signature, inputs: tuple[Tensor, ...]) -> None:
        self._module = module.eval()
        self._signature = signature
        self._inputs = inputs
        self._names = {each: name for name, each in module.named_modules()}
        self._tied = _tied(module)
        for parameter in module.parameters():
            parameter.requires_grad_(True)

    def find(self, importance: Importance, report: Callable[[float], None]) -> Found:
        """Take half of every width out, compare, and put it back.

        Raises:
            torch-pruning's and the module's errors, if the module cannot be followed at all.
        """
        widths: list[Width] = []
        left: list[tuple[str, Obstacle]] = []
        recurrent = [each for each in self._names if isinstance(each, _RECURRENT)]
        left += [(self._names[each], Obstacle.RECURRENT) for each in recurrent]
        groups = list(self._graph().get_all_groups(root_module_types=_ROOTS))
        for index, group in enumerate(groups):
            report(index / len(groups))
            name = self._names[group[0].dep.target.module]
            found = self._examined(name, group, importance)
            if isinstance(found, Width):
                widths.append(found)
            else:
                left.append((name, found))
        return Found(tuple(widths), tuple(left))

    def cut(self, width: Width, units: Sequence[int]) -> bool:
        """Take these units out in place; False if the answers say that it was wrong.

        The module is then as before.
        """
        before = _Snapshot(self._module)
        made = self._taken_out(width, units)
        if made is not None and same(*made):
            return True
        before.restore()
        return False

    def _taken_out(
        self, width: Width, units: Sequence[int]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
        """The answers without these units, and what they should be; None if it does not run."""
        channels = [unit * width.span + offset for unit in units for offset in range(width.span)]
        graph = self._graph()
        layer = self._module.get_submodule(width.layer)
        group = graph.get_pruning_group(
            layer, graph.get_pruner_of_module(layer).prune_out_channels, channels
        )
        try:
            expected = self._answers_without(group)
            group.prune(record_history=False)
            for module, attribute in width.numbers:
                owner = self._module.get_submodule(module)
                old = getattr(owner, attribute)
                setattr(owner, attribute, old - old * len(units) // width.units)
            return self._answers(), expected
        except MISFITS:
            return None

    def _examined(self, name: str, group: Group, importance: Importance) -> Width | Obstacle:
        obstacle = self._obstacle(group)
        if obstacle is not None:
            return obstacle
        channels = len(group[0].idxs)
        scores = importance(group)
        if scores is None:
            scores = torch.ones(channels)
        for span, numbers in ((1, ()), *self._heads(name, channels)):
            units = channels // span
            width = Width(name, units, scores.reshape(units, span).sum(1), span, numbers)
            found = self._shrinks(width)
            if found is None:
                return Obstacle.SILENT
            if found:
                return width
        return Obstacle.MIXED

    def _shrinks(self, width: Width) -> bool | None:
        """Whether either half can be taken out; None if the answers do not depend on it."""
        whole, half = self._answers(), width.units // 2
        for units in (range(half), range(half, width.units)):
            before = _Snapshot(self._module)
            made = self._taken_out(width, units) if len(units) < width.units else None
            before.restore()
            if made is None:
                return False
            moved = distance(made[1], whole)
            if moved > _FELT:
                return distance(*made) <= _SHARE_OF_MOVE * moved + _ROUNDING
        return None

    def _obstacle(self, group: Group) -> Obstacle | None:
        for dep, _ in group:
            layer = dep.target.module
            if isinstance(layer, _RECURRENT):
                return Obstacle.RECURRENT
            if isinstance(layer, nn.Conv1d | nn.Conv2d) and 1 < layer.groups < layer.out_channels:
                return Obstacle.GROUPED
            own = [layer] if isinstance(layer, nn.Parameter) else _parameters(layer)
            if any(id(each) in self._tied for each in own):
                return Obstacle.TIED
        return None if _readers(group) else Obstacle.OUTPUT

    def _heads(self, name: str, channels: int) -> list[tuple[int, tuple[tuple[str, str], ...]]]:
        """What a head may be here: its channels, and the attributes that change with their number.

        Attention counts its heads in an attribute with "head" in its name. Some also keep the
        channels of all heads, like BERT's ``all_head_size``.
        """
        path = name.split(".")
        for depth in range(len(path) - 1, -1, -1):
            owner = ".".join(path[:depth])
            numbers = {
                key: value
                for key, value in vars(self._module.get_submodule(owner)).items()
                if type(value) is int and value > 1
            }
            counts = [
                key
                for key, value in numbers.items()
                if "head" in key
                and channels % value == 0
                and value < channels
                and not any(word in key for word in ("dim", "size", "width"))
            ]
            if counts and len({numbers[key] for key in counts}) == 1:
                totals = [key for key, value in numbers.items() if value == channels]
                span = channels // numbers[counts[0]]
                one = tuple((owner, key) for key in counts)
                both = (*one, *((owner, key) for key in totals))
                return [(span, one), (span, both)] if totals else [(span, one)]
        return []

    def _graph(self) -> torch_pruning.DependencyGraph:
        with warnings.catch_warnings(), torch.enable_grad():
            # It says for which operators it guesses; the guesses are checked.
            warnings.simplefilter("ignore")
            return torch_pruning.DependencyGraph().build_dependency(
                self._module, self._inputs, verbose=False
            )

    def _answers(self) -> tuple[Tensor, ...]:
        return answers(self._module, self._signature, self._inputs)

    def _answers_without(self, group: Group) -> tuple[Tensor, ...]:
        """The answers when the layers that read the group's channels do not look at them."""
        kept = []
        with torch.no_grad():
            for weight, channels in _readers(group):
                kept.append((weight, weight.clone()))
                weight[:, channels] = 0
            try:
                return self._answers()
            finally:
                for weight, old in reversed(kept):
                    weight.copy_(old)


class _Snapshot:
    """A module's layers as they are, to go back to; shares their tensors, which cuts replace."""

    def __init__(self, module: nn.Module) -> None:
        self._layers = [
            (each, dict(vars(each)), dict(each._parameters), dict(each._buffers))
            for each in module.modules()
        ]

    def restore(self) -> None:
        for layer, state, parameters, buffers in self._layers:
            vars(layer).clear()
            vars(layer).update(state)
            layer._parameters.clear()
            layer._parameters.update(parameters)
            layer._buffers.clear()
            layer._buffers.update(buffers)


def _readers(group: Group) -> list[tuple[nn.Parameter, list[int]]]:
    """The weights [out, in, ...] that read the group's channels, with those channels."""
    return [
        (dep.target.module.weight, list(channels))
        for dep, channels in group
        if dep.handler in _READS_CHANNELS
    ]


def _parameters(layer: object) -> list[nn.Parameter]:
    return list(layer.parameters(recurse=False)) if isinstance(layer, nn.Module) else []


def _tied(module: nn.Module) -> set[int]:
    """The ids of parameters that more than one layer has."""
    owned = [id(each) for layer in module.modules() for each in _parameters(layer)]
    return {each for each, turns in itertools.groupby(sorted(owned)) if len(list(turns)) > 1}
