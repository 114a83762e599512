"""Takes whole channels out of a PyTorch module, then lets it learn from the source again."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes.finetuning import FinetuneSettings, finetune, written
from distillfarm.compression.passes.settings import number, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat, Signature
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from distillfarm.compression.torch_models import PruningStep, TorchModel

# Channels that are no multiple of 8 ran slower than the unpruned ones.
_CHANNEL_MULTIPLE = 8


@dataclass(frozen=True)
class PruneSettings(FinetuneSettings):
    """``ratio`` of the channels goes, then the rest learns again."""

    ratio: float = number(0.5, 0.01, 0.95)


class Prune:
    """Structured pruning by group magnitude (Fang et al., arXiv:2301.12900), then fine-tuning.

    Widths stay multiples of 8 and what makes the model's outputs is left alone. The fine-tuning
    distils from the source model.
    """

    name = "prune"
    formats = frozenset({ModelFormat.TORCH_MODULE})
    gives = None
    promise = Promise.FEWER_PARAMETERS

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, PruneSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Prune the module and train it."""
        from distillfarm.compression import torch_models, training

        if source.format not in self.formats:
            raise PassRefused(
                f"a {source.format.value} model has its widths written into its graph; hand the"
                " model in as a state dict with its factory, or distil first"
            )
        settings = parse(spec, PruneSettings)
        training.begin(workspace.seed, workspace.threads)
        workspace.report(0.0, "pruning")
        model = torch_models.read(source.path)
        model = dataclasses.replace(
            model,
            spec=dataclasses.replace(
                model.spec,
                pruning=(*model.spec.pruning, *_prune(model, settings.ratio)),
            ),
        )
        finetune(model, settings, workspace)
        return written(model, workspace, "pruned.zip")


def _prune(model: "TorchModel", ratio: float) -> "tuple[PruningStep, ...]":
    """Prune the module in place; gives what was taken out."""
    import torch_pruning

    from distillfarm.compression.torch_models import PruningStep, example_inputs

    module, signature = model.module, model.spec.signature
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    before = [tuple(each.shape) for each in _run(module, signature)]
    try:
        pruner = torch_pruning.pruner.BasePruner(
            module,
            example_inputs(signature, batch=2),
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            round_to=_CHANNEL_MULTIPLE,
            ignored_layers=_kept(module, signature),
        )
        pruner.step()
        history = pruner.pruning_history()
    except (RuntimeError, ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise PassRefused(
            f"torch-pruning cannot follow this module: {type(error).__name__}: {error}"
        ) from error
    after = [tuple(each.shape) for each in _run(module, signature)]
    if after != before:
        raise PassRefused(f"pruning would change the outputs' shapes from {before} to {after}")
    if not history:
        raise PassRefused(
            f"no layer can lose {ratio:.0%} of its channels and keep a multiple of"
            f" {_CHANNEL_MULTIPLE}; raise ratio, or the model has none but recurrent layers"
        )
    return tuple(
        PruningStep(name, bool(out), tuple(map(int, indices))) for name, out, indices in history
    )


def _run(module: "nn.Module", signature: Signature) -> "tuple[torch.Tensor, ...]":
    from distillfarm.compression.torch_models import example_inputs, named_outputs

    return named_outputs(module(*example_inputs(signature, batch=2)), signature)


def _kept(module: "nn.Module", signature: Signature) -> "list[nn.Module]":
    """The layers that must keep their width because the model's outputs have it."""
    import torch
    from torch import nn

    # The nodes are kept alive beside the layers, since ids of dead objects are used again.
    made: dict[int, tuple[object, nn.Module]] = {}

    def remember(layer: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            made[id(output.grad_fn)] = (output.grad_fn, layer)

    shaping = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
    layers = [each for each in module.modules() if isinstance(each, shaping)]
    hooks = [each.register_forward_hook(remember) for each in layers]
    try:
        outputs = _run(module, signature)
    finally:
        for hook in hooks:
            hook.remove()
    # Walk back from each output, through what has no width of its own, to the layers behind.
    kept: list[nn.Module] = []
    waiting = [each.grad_fn for each in outputs]
    while waiting:
        node = waiting.pop()
        if id(node) in made:
            kept.append(made[id(node)][1])
        elif node is not None:
            waiting.extend(following for following, _ in node.next_functions)
    return kept
