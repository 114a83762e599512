"""What passes that change a module's layers do the same way."""

import copy
import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from distillfarm.compression.datasets import load_for_passes
from distillfarm.compression.passes.finetuning import FinetuneSettings, finetune
from distillfarm.compression.protocols import PassRefused, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat

if TYPE_CHECKING:
    from torch import Tensor

    from distillfarm.compression.torch_models import TorchModel


def module_of(source: WorkingModel, workspace: Workspace) -> "TorchModel":
    """Read a TORCH_MODULE so that all that follows repeats itself.

    Raises:
        PassRefused: it is of another format.
    """
    from distillfarm.compression import torch_models, training

    if source.format is not ModelFormat.TORCH_MODULE:
        raise PassRefused(
            f"a {source.format.value} model has its widths written into its graph; hand the"
            " model in as a state dict with its factory, or distil first"
        )
    training.begin(workspace.seed, workspace.threads)
    return torch_models.read(source.path)


def samples(
    model: "TorchModel", workspace: Workspace, count: int
) -> "tuple[tuple[Tensor, ...], Tensor]":
    """The inputs of at most ``count`` training samples in the order of ``forward``, and labels."""
    import torch

    from distillfarm.compression import teaching

    signature = model.spec.signature
    data = load_for_passes(workspace.data, signature, workspace.split_seed)
    few = teaching.labelled(workspace, data.train.take(slice(count)))
    inputs = tuple(torch.from_numpy(few.inputs[each.name]) for each in signature.inputs)
    return inputs, torch.from_numpy(few.labels)


def with_open_attention(
    model: "TorchModel", inputs: "tuple[Tensor, ...]", workspace: Workspace
) -> "TorchModel":
    """The model with dense layers for the projections of every ``nn.MultiheadAttention``.

    One whose answers are not the same afterwards stays as it is; a note says so.
    """
    from torch import nn

    from distillfarm.compression import module_edits
    from distillfarm.compression.torch_answers import MISFITS, answers, same

    names = [
        name
        for name, each in model.module.named_modules()
        if isinstance(each, nn.MultiheadAttention)
    ]
    for name in names:
        edit = module_edits.Unpacked(name)
        tried = copy.deepcopy(model.module)
        try:
            edit.apply(tried)
            fits = same(
                answers(tried, model.spec.signature, inputs),
                answers(model.module, model.spec.signature, inputs),
            )
        except MISFITS:
            fits = False
        if not fits:
            workspace.notes.append(
                f"{name} stays one layer: its code needs PyTorch's own nn.MultiheadAttention"
            )
            continue
        model = dataclasses.replace(model, module=tried).edited([edit])
    return model


def part_of(workspace: Workspace, start: float, end: float) -> Workspace:
    """The same workspace for the part from ``start`` to ``end`` of the work."""

    def report(done: float, text: str) -> None:
        workspace.report(start + (end - start) * done, text)

    return dataclasses.replace(workspace, report=report)


def finetune_stage(
    model: "TorchModel", settings: FinetuneSettings, workspace: Workspace, stage: int
) -> None:
    """``finetune`` as the ``stage``-th of several: its epochs are counted on."""
    checkpoints = workspace.checkpoints
    own = dataclasses.replace(
        workspace,
        curve=[],
        checkpoints=checkpoints / f"stage-{stage}" if checkpoints else None,
    )
    finetune(model, settings, own)
    seen = workspace.curve[-1].epoch if workspace.curve else 0
    workspace.curve.extend(dataclasses.replace(each, epoch=seen + each.epoch) for each in own.curve)


def note(workspace: Workspace, reasons: Iterable[tuple[str, str]]) -> None:
    """One note for each reason why layers stay as they are, naming these layers."""
    named: dict[str, list[str]] = {}
    for layer, reason in reasons:
        named.setdefault(reason, []).append(layer)
    for reason, layers in named.items():
        line = f"left as it is, since {reason}: {', '.join(layers)}"
        if line not in workspace.notes:
            workspace.notes.append(line)
