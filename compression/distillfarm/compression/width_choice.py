"""Which units of a module's widths matter least, and how many of each go."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch_pruning import importance
from torch_pruning.dependency import Group

from distillfarm.compression.datasets import is_classes
from distillfarm.compression.torch_models import TorchModel, named_outputs
from distillfarm.compression.training import are_probabilities
from distillfarm.compression.widths import Importance, Width

_TINY_PROBABILITY = 1e-7


def scores(name: str, model: TorchModel, inputs: Sequence[Tensor], labels: Tensor) -> Importance:
    """Scores channels by ``magnitude``, ``taylor`` or ``bn_scale``.

    For ``taylor`` the gradients of the loss on these samples are left in the module.
    """
    magnitude: Importance = importance.GroupMagnitudeImportance(p=2)
    if name == "taylor":
        _differentiate(model, inputs, labels)
        taylor: Importance = importance.GroupTaylorImportance()
        return taylor
    if name == "bn_scale":
        scale = importance.BNScaleImportance()

        def either(group: Group) -> Tensor | None:
            found: Tensor | None = scale(group)
            return magnitude(group) if found is None else found

        return either
    return magnitude


def goals(
    widths: Sequence[Width], original: Mapping[str, int], kept_share: float, together: bool
) -> list[float]:
    """How many units of each width are to stay, of the ``original`` number by layer.

    ``together`` ranks all units of the module at once, channels and heads apart, since a head is
    many channels.
    """
    if not together:
        return [original[each.layer] * kept_share for each in widths]
    found = [float(each.units) for each in widths]
    for heads in (False, True):
        members = [index for index, each in enumerate(widths) if (each.span > 1) is heads]
        ranked = [widths[index].importance / widths[index].importance.mean() for index in members]
        wanted = kept_share * sum(original[widths[index].layer] for index in members)
        dropped = sum(map(len, ranked)) - round(wanted)
        if dropped > 0:
            limit = torch.cat(ranked).sort().values[dropped - 1]
            for index, scores in zip(members, ranked, strict=True):
                found[index] = float((scores > limit).sum())
    return found


def cuts(
    widths: Sequence[Width], goal: Sequence[float], multiple_of: int
) -> list[tuple[Width, list[int]]]:
    """The least important units of each width, down to about its ``goal``.

    What stays is a multiple of ``multiple_of`` channels. Widths that lose nothing are left out.
    """
    found = []
    for width, units in zip(widths, goal, strict=True):
        step = multiple_of // math.gcd(multiple_of, width.span)
        kept = max(step, int(units / step + 0.5) * step)
        if kept < width.units:
            order = torch.argsort(width.importance, stable=True)
            found.append((width, sorted(order[: width.units - kept].tolist())))
    return found


def _differentiate(model: TorchModel, inputs: Sequence[Tensor], labels: Tensor) -> None:
    module = model.module.eval()
    module.zero_grad()
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    answer = named_outputs(module(*inputs), model.spec.signature)[0]
    if not is_classes(labels.numpy()):
        loss = functional.mse_loss(answer, labels.to(answer.dtype).reshape(answer.shape))
    elif are_probabilities(answer.detach().numpy()):
        loss = functional.nll_loss(answer.clamp_min(_TINY_PROBABILITY).log(), labels)
    else:
        loss = functional.cross_entropy(answer, labels)
    torch.autograd.backward(loss)
    for parameter in module.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
