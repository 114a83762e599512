"""Sets single weights to zero while the module goes on learning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distillfarm.compression.passes.finetuning import FinetuneSettings, finetune, steps, written
from distillfarm.compression.passes.settings import number, option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

# The last third of the training goes on at the full ratio.
_RISING_SHARE = 2 / 3
_RISES = 60
_PERCENT = 100


@dataclass(frozen=True)
class SparsifySettings(FinetuneSettings):
    """``ratio`` of the weights become zero, counted over all layers or within each."""

    ratio: float = number(0.8, 0.01, 0.99)
    scope: str = option("all", "layer")


class Sparsify:
    """Unstructured magnitude pruning that rises with the cube (Zhu and Gupta, arXiv:1710.01878).

    The file is as large as before and, without a sparse kernel, as slow. What shrinks is what a
    download or an app's package stores of it. The pass therefore promises that size alone, and
    passes that train afterwards fill the zeros again.
    """

    name = "sparsify"
    formats = frozenset({ModelFormat.TORCH_MODULE})
    gives = None
    promise = Promise.SMALLER_PACKED

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, SparsifySettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Train the module while the ratio rises."""
        from distillfarm.compression import torch_models, training
        from distillfarm.compression.passes.weight_matrices import matrices

        settings = parse(spec, SparsifySettings)
        training.begin(workspace.seed, workspace.threads)
        workspace.report(0.0, "loading")
        model = torch_models.read(source.path)
        weights = matrices(model.module)
        zeros = _Zeros(weights, settings, steps(model, settings, workspace))
        finetune(model, settings, workspace, constraint=zeros)
        workspace.notes.extend(_notes(weights))
        return written(model, workspace, "sparse.zip")


class _Zeros:
    """Holds ever more of the weights at zero, those smallest when the ratio last rose."""

    def __init__(
        self, weights: "Mapping[str, nn.Parameter]", settings: SparsifySettings, total: int
    ) -> None:
        self._weights = weights
        self._settings = settings
        self._rising = max(1, int(total * _RISING_SHARE))
        self._every = max(1, self._rising // _RISES)
        self._done = 0
        self._kept: dict[str, Tensor] = {}

    def state_dict(self) -> "dict[str, Any]":
        """How far the ratio has risen, and which weights are left."""
        return {"done": self._done, "kept": self._kept}

    def load_state_dict(self, state: "dict[str, Any]") -> None:
        """Go on from there."""
        self._done, self._kept = state["done"], state["kept"]

    def __call__(self) -> None:
        """Zero the weights that were chosen, after choosing more if it is time."""
        import torch

        self._done += 1
        last = self._done == self._rising
        if last or (self._done < self._rising and self._done % self._every == 0):
            left = 1 - self._done / self._rising
            self._kept = self._chosen(self._settings.ratio * (1 - left**3))
        with torch.no_grad():
            for name, kept in self._kept.items():
                self._weights[name].mul_(kept)

    def _chosen(self, ratio: float) -> "dict[str, Tensor]":
        import torch

        sizes = {name: each.detach().abs() for name, each in self._weights.items()}
        if self._settings.scope == "layer":
            return {name: each > _quantile(each.flatten(), ratio) for name, each in sizes.items()}
        border = _quantile(torch.cat([each.flatten() for each in sizes.values()]), ratio)
        kept = {name: each > border for name, each in sizes.items()}
        emptied = [name for name, each in kept.items() if not each.any()]
        if emptied:
            raise PassRefused(
                f"a ratio of {self._settings.ratio:g} over all layers leaves nothing of"
                f" {', '.join(emptied)}; lower ratio, or use scope=layer"
            )
        return kept


def _quantile(sizes: "Tensor", ratio: float) -> "Tensor":
    rank = int(ratio * sizes.numel())
    if rank < 1:
        return sizes.new_tensor(-1.0)
    return sizes.kthvalue(rank).values


def _notes(weights: "Mapping[str, nn.Parameter]") -> list[str]:
    counts = {name: (int((each == 0).sum()), each.numel()) for name, each in weights.items()}
    zeros, total = (sum(column) for column in zip(*counts.values(), strict=True))
    listed = ", ".join(
        f"{name} {_PERCENT * zero / size:.0f} %" for name, (zero, size) in counts.items()
    )
    return [
        f"{zeros:,} of {total:,} weights are zero ({_PERCENT * zeros / total:.0f} %): {listed}",
        "the file is no smaller, only its size after compression is; without a sparse kernel it is"
        " no faster",
    ]
