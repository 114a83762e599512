"""Batch norms behind convolutions: folded into them as exporters do, and held still."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distillfarm.compression.torch_models import TorchModel, example_inputs, named_outputs

_Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
_Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_SLACK = 1e-3


def fold(model: TorchModel) -> int:
    """Move each batch norm's scale into the convolution before it; gives how many were.

    What is left of a folded norm adds a bias and multiplies by exactly 1, so that the module keeps
    its layers and its answers, and an exporter that folds changes no weight any more. Where the
    answers would change, since something else reads a convolution as well, nothing is folded.
    """
    module, signature = model.module.eval(), model.spec.signature
    inputs = tuple(_noise(each) for each in example_inputs(signature, batch=2))
    pairs = _pairs(module, inputs)
    before = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        wanted = named_outputs(module(*inputs), signature)
        for layer, norm in pairs:
            _fold(layer, norm)
        given = named_outputs(module(*inputs), signature)
    if all(torch.allclose(*each, _SLACK, _SLACK) for each in zip(given, wanted, strict=True)):
        return len(pairs)
    module.load_state_dict(before)
    return 0


def _noise(zeros: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(zeros.shape, generator=generator) if zeros.is_floating_point() else zeros


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Batch norms keep their statistics and scales while the module is trained; biases learn."""
    norms = _norms(module)
    handles = [norm.register_forward_pre_hook(_still) for norm in norms]
    scales = [norm.weight for norm in norms if norm.affine]
    for scale in scales:
        scale.requires_grad = False
    try:
        yield
    finally:
        for scale in scales:
            scale.requires_grad = True
        for handle in handles:
            handle.remove()


def _still(norm: nn.Module, _inputs: object) -> None:
    norm.eval()


def _norms(module: nn.Module) -> list[_Norm]:
    return [
        each for each in module.modules() if isinstance(each, _Norm) and each.track_running_stats
    ]


def _pairs(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[_Layer, _Norm]]:
    """Layers whose output goes into one batch norm, each used once; found by running the module."""
    makers: dict[int, _Layer] = {}
    kept: list[Tensor] = []  # so that no two outputs have the same id
    uses: dict[nn.Module, int] = {}
    pairs: list[tuple[_Layer, _Norm]] = []

    def made(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if isinstance(layer, _Layer):
            makers[id(output)] = layer
        kept.append(output)
        uses[layer] = uses.get(layer, 0) + 1

    def taken(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        uses[norm] = uses.get(norm, 0) + 1
        layer = makers.get(id(given[0]))
        if layer is not None and isinstance(norm, _Norm):
            pairs.append((layer, norm))

    layers = [each for each in module.modules() if isinstance(each, _Layer)]
    handles = [each.register_forward_hook(made) for each in layers]
    handles += [each.register_forward_pre_hook(taken) for each in _norms(module)]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [(layer, norm) for layer, norm in pairs if uses[layer] == uses[norm] == 1]


def _fold(layer: _Layer, norm: _Norm) -> None:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
        norm.weight.fill_(1.0)
    offset = -mean * scale
    weight, bias = layer.weight, layer.bias
    weight.mul_(scale.reshape(-1, *[1] * (weight.ndim - 1)))
    if bias is not None:
        bias.mul_(scale)
    if norm.bias is not None:
        norm.bias.add_(offset)
        mean.zero_()
    else:
        mean.copy_(-offset)
    # The nearest number to it whose sum with eps is exactly 1.
    variance.copy_(torch.ones_like(variance) - norm.eps)
