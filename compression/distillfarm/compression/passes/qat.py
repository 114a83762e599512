"""Trains a module under the rounding that a quantiser will do to it afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes.finetuning import FinetuneSettings, finetune, written
from distillfarm.compression.passes.settings import option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from torch import nn

_LEARNING_RATE = 0.003


@dataclass(frozen=True)
class QatSettings(FinetuneSettings):
    """What is rounded: weights to ``bits``, what goes into layers to INT8 or not at all.

    With ``bits=4``, ``runtime`` and ``block`` are those of the ``int4`` that follows.
    """

    bits: str = option("8", "4")
    activations: str = option("int8", "float")
    runtime: str = option("litert", "onnxruntime")
    block: str = option("32", "16", "64", "128", "256")


class Qat:
    """Quantisation-aware training with straight-through gradients (Jacob et al., CVPR 2018).

    Every forward pass rounds the weights of convolutions, dense layers and lookups as the
    quantiser that follows does (``int8_static`` by channel, ``int4``), so that this finds them on
    its own grid and changes nothing; activations are rounded in moving ranges. The module learns
    from the source model's answers meanwhile. The result is in FP32: it is the quantiser after it
    that makes the file small. Recurrent layers stay as they are.
    """

    name = "qat"
    formats = frozenset({ModelFormat.TORCH_MODULE})
    gives = None
    promise = Promise.SAME_SIZE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, QatSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Fold batch norms, train under rounding, leave the rounded weights."""
        from distillfarm.compression import torch_models, training
        from distillfarm.compression.passes import batch_norms

        settings = parse(spec, QatSettings)
        training.begin(workspace.seed, workspace.threads)
        workspace.report(0.0, "loading")
        model = torch_models.read(source.path)
        folded = batch_norms.fold(model)
        with _rounding(model.module, settings) as rounded, batch_norms.frozen(model.module):
            finetune(model, settings, workspace, default_rate=_LEARNING_RATE)
        workspace.notes.append(
            f"trained under {settings.bits}-bit rounding of {len(rounded)} weights:"
            f" {', '.join(rounded)}; {folded} batch norms folded"
        )
        return written(model, workspace, "qat.zip")


@contextmanager
def _rounding(module: "nn.Module", settings: QatSettings) -> "Iterator[list[str]]":
    """Weights and activations of ``module`` are rounded within; the weights stay so afterwards.

    Yields:
        The names of the rounded weights.

    Raises:
        PassRefused: there is no layer whose weights a quantiser rounds.
    """
    from torch.nn.utils import parametrize

    from distillfarm.compression.passes import rounding

    weights = rounding.weights(module)
    if not weights:
        raise PassRefused(
            "the module has no convolution, dense layer or lookup to round; recurrent layers are"
            " not trained under rounding"
        )
    handles = []
    for layer, name in weights.values():
        grid: nn.Module = rounding.ByChannel(int(settings.bits))
        if settings.bits == "4" and rounding.in_blocks(
            layer, settings.runtime, int(settings.block)
        ):
            grid = rounding.ByBlock(settings.runtime, int(settings.block))
        parametrize.register_parametrization(layer, name, grid)
        if settings.activations == "int8" and rounding.takes_activations(layer):
            handles.append(rounding.Activations(layer))
    try:
        yield list(weights)
    finally:
        for handle in handles:
            handle.remove()
        for layer, name in weights.values():
            parametrize.remove_parametrizations(layer, name)
