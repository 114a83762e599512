"""Which rank each layer gets: by energy, by a share of its size, or by what the model minds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distillfarm.compression.factors import Factors
from distillfarm.compression.torch_answers import answers
from distillfarm.compression.torch_models import TorchModel

# As many ranks of a layer are tried; every one runs the model once.
_TRIED_RANKS = 8


@dataclass(frozen=True)
class Option:
    """A rank for a layer, None for the layer as it is, with its parameters and its loss."""

    rank: int | None
    parameters: int
    loss: float


def by_energy(layers: Sequence[Factors], kept: float, multiple_of: int) -> dict[str, int]:
    """The smallest rank of each layer that keeps this share of its energy, where one is smaller."""
    chosen = {}
    for each in layers:
        enough = [rank for rank in each.ranks(multiple_of) if each.kept(rank) >= kept]
        if enough:
            chosen[each.name] = enough[0]
    return chosen


def by_ratio(layers: Sequence[Factors], ratio: float, multiple_of: int) -> dict[str, int]:
    """The largest rank of each layer at which ``ratio`` of its parameters is gone."""
    chosen = {}
    for each in layers:
        limit = (1 - ratio) * each.parameters
        small = [rank for rank in each.ranks(multiple_of) if each.parameters_of(rank) <= limit]
        if small:
            chosen[each.name] = small[-1]
    return chosen


def by_sensitivity(  # noqa: PLR0917
    model: TorchModel,
    inputs: Sequence[Tensor],
    layers: Sequence[Factors],
    ratio: float,
    multiple_of: int,
    report: Callable[[float], None],
) -> dict[str, int]:
    """Ranks under which ``ratio`` of all the layers' parameters is gone and the answers move least.

    Each layer alone is tried at some ranks; the loss is the mean square by which the model's
    answers on ``inputs`` move, as a share of their variance. Then all begin at their smallest rank
    and the budget is handed out where a parameter saves most.
    """
    expected = answers(model.module, model.spec.signature, inputs)
    options = {}
    for index, each in enumerate(layers):
        report(index / len(layers))
        ranks = each.ranks(multiple_of)
        tried = ranks[:: max(1, -(-len(ranks) // _TRIED_RANKS))]
        options[each.name] = [
            *(
                Option(rank, each.parameters_of(rank), _loss(model, inputs, each, rank, expected))
                for rank in tried
            ),
            Option(None, each.parameters, 0.0),
        ]
    budget = (1 - ratio) * sum(each.parameters for each in layers)
    chosen = handed_out(options, budget)
    return {name: each.rank for name, each in chosen.items() if each.rank is not None}


def handed_out(options: dict[str, list[Option]], budget: float) -> dict[str, Option]:
    """One option of each layer, all together within ``budget`` parameters if that can be.

    Greedy: again and again the step that saves most loss for each parameter it costs.
    """
    chosen = {name: each[0] for name, each in options.items()}
    left = budget - sum(each.parameters for each in chosen.values())
    while True:
        steps = [
            (
                (chosen[name].loss - option.loss) / (option.parameters - chosen[name].parameters),
                name,
                index,
            )
            for name, each in options.items()
            for index, option in enumerate(each)
            if chosen[name].parameters < option.parameters <= chosen[name].parameters + left
        ]
        if not steps:
            return chosen
        saving, name, index = max(steps)
        if saving <= 0:
            return chosen
        left -= options[name][index].parameters - chosen[name].parameters
        chosen[name] = options[name][index]


def _loss(
    model: TorchModel,
    inputs: Sequence[Tensor],
    layer: Factors,
    rank: int,
    expected: Sequence[Tensor],
) -> float:
    weight = layer.layer.weight
    with torch.no_grad():
        kept = weight.clone()
        weight.copy_(layer.product(rank))
        try:
            given = answers(model.module, model.spec.signature, inputs)
        finally:
            weight.copy_(kept)
    return sum(
        float((one.double() - two.double()).square().mean() / two.double().var().clamp_min(1e-30))
        for one, two in zip(given, expected, strict=True)
    )
