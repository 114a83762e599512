"""Makes each dense, embedding or convolution layer two of a small rank, then lets them learn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes.finetuning import FinetuneSettings, finetune, written
from distillfarm.compression.passes.settings import number, option, parse
from distillfarm.compression.passes.surgery import (
    module_of,
    note,
    part_of,
    samples,
    with_open_attention,
)
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from torch import Tensor

    from distillfarm.compression.factors import Factors
    from distillfarm.compression.torch_models import TorchModel

_SAMPLES = 256
_FACTORISING_SHARE = 0.15


@dataclass(frozen=True)
class LowRankSettings(FinetuneSettings):
    """How ranks are chosen, as multiples of ``round_to``.

    ``rank=energy`` takes the smallest that keeps ``energy`` of the squared singular values,
    ``ratio`` one that takes ``ratio`` of each layer's parameters away, ``sensitivity`` takes
    ``ratio`` of all of them away where the model minds least.
    """

    rank: str = option("energy", "ratio", "sensitivity")
    energy: float = number(0.9, 0.01, 0.9999)
    ratio: float = number(0.5, 0.01, 0.95)
    round_to: int = number(8, 1, 256)


class LowRank:
    """Low-rank factorisation by singular value decomposition, then fine-tuning.

    Dense layers, attention projections among them, are decomposed under the second moments of
    their inputs on training data; embeddings and convolutions by their weights. A layer is
    factorised only where both halves together are smaller than it.
    """

    name = "low_rank"
    formats = frozenset({ModelFormat.TORCH_MODULE})
    gives = None
    promise = Promise.FEWER_PARAMETERS

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, LowRankSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Factorise the layers of the module and train it."""
        settings = parse(spec, LowRankSettings)
        workspace.report(0.0, "decomposing layers")
        model = module_of(source, workspace)
        inputs, _ = samples(model, workspace, _SAMPLES)
        model = with_open_attention(model, inputs, workspace)
        part = part_of(workspace, 0.0, _FACTORISING_SHARE)
        model = _factorised(model, inputs, settings, part)
        finetune(model, settings, part_of(workspace, _FACTORISING_SHARE, 1.0))
        return written(model, workspace, "low_rank.zip")


def _factorised(
    model: "TorchModel",
    inputs: "tuple[Tensor, ...]",
    settings: LowRankSettings,
    workspace: Workspace,
) -> "TorchModel":
    """The model with every layer factorised that gets smaller so, and notes on each."""
    from distillfarm.compression import factors

    layers, tied = factors.candidates(model.module)
    recurrent = factors.recurrent(model.module)
    known = factors.moments(model.module, inputs, list(layers))
    decomposed = []
    for index, (name, layer) in enumerate(layers.items()):
        workspace.report(index / len(layers) / 2, f"decomposing {name}")
        decomposed.append(factors.factors(name, layer, known.get(name)))
    left = [(name, "its weights are used in more than one layer") for name in tied]
    left += [(name, "it is recurrent; distil to a smaller one") for name in recurrent]
    small = [each for each in decomposed if each.ranks(settings.round_to)]
    left += [
        (each.name, f"no multiple of {settings.round_to} as its rank makes it smaller")
        for each in decomposed
        if not each.ranks(settings.round_to)
    ]
    ranks = _ranks(model, inputs, small, settings, part_of(workspace, 0.5, 1.0))
    told = []
    for each in small:
        rank = ranks.get(each.name)
        if rank is None:
            left.append((each.name, "it needs a higher rank than makes it smaller"))
        elif _put(model, each, rank, inputs):
            from distillfarm.compression.module_edits import Factorised

            model = model.edited([Factorised(each.name, rank)])
            full = each.left.shape[1]
            told.append(f"{each.name}: rank {rank} of {full}, {each.kept(rank):.1%} of the energy")
        else:
            left.append((each.name, "the module's code uses more of it than its answers"))
    if not told:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left)
        raise PassRefused(f"no layer gets smaller: {reasons or 'the model has none to factorise'}")
    workspace.notes.extend(told)
    note(workspace, left)
    return model


def _ranks(
    model: "TorchModel",
    inputs: "tuple[Tensor, ...]",
    layers: "list[Factors]",
    settings: LowRankSettings,
    workspace: Workspace,
) -> dict[str, int]:
    from distillfarm.compression.rank_choice import by_energy, by_ratio, by_sensitivity

    match settings.rank:
        case "energy":
            return by_energy(layers, settings.energy, settings.round_to)
        case "ratio":
            return by_ratio(layers, settings.ratio, settings.round_to)
        case _:
            return by_sensitivity(
                model,
                inputs,
                layers,
                settings.ratio,
                settings.round_to,
                lambda done: workspace.report(done, "asking which layers mind"),
            )


def _put(model: "TorchModel", layer: "Factors", rank: int, inputs: "tuple[Tensor, ...]") -> bool:
    """Put two layers in the place of one; False, and as before, if the module does not run so."""
    from distillfarm.compression.module_edits import replace
    from distillfarm.compression.torch_answers import MISFITS, answers

    pair = layer.layers(rank)
    try:
        replace(model.module, layer.name, pair)
        answers(model.module, model.spec.signature, inputs)
    except MISFITS:
        if model.module.get_submodule(layer.name) is pair:
            replace(model.module, layer.name, layer.layer)
        return False
    return True
