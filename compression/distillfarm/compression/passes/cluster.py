"""Lets the weights of a layer share a few values, which pack well, while the module learns."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distillfarm.compression.passes.finetuning import FinetuneSettings, finetune, written
from distillfarm.compression.passes.settings import number, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

_ROUNDS = 30


@dataclass(frozen=True)
class ClusterSettings(FinetuneSettings):
    """Every layer's weights take 2 ** ``bits`` values."""

    bits: int = number(4, 1, 8)


class Cluster:
    """Weight sharing by k-means in each layer (Deep Compression, Han et al., arXiv:1510.00149).

    The shared values learn on: after every step the weights of a cluster take their mean. Zeros
    stay zeros. Batch norms that follow a convolution are folded into it first, since exporters do
    that too and every channel would get values of its own. The file is as large and as fast as
    before; entropy coding, as packages and downloads use it, makes it small.
    """

    name = "cluster"
    formats = frozenset({ModelFormat.TORCH_MODULE})
    gives = None
    promise = Promise.SMALLER_PACKED

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, ClusterSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Find the clusters, then train what they share."""
        from distillfarm.compression import torch_models, training
        from distillfarm.compression.passes import batch_norms
        from distillfarm.compression.passes.weight_matrices import matrices

        settings = parse(spec, ClusterSettings)
        training.begin(workspace.seed, workspace.threads)
        workspace.report(0.0, "loading")
        model = torch_models.read(source.path)
        batch_norms.fold(model)
        clusters = [
            _Clusters(name, weight, 2**settings.bits)
            for name, weight in matrices(model.module).items()
            if weight.numel() > 2**settings.bits
        ]
        if not clusters:
            raise PassRefused(
                f"no weight of the module has more than {2**settings.bits} values; lower bits"
            )
        with batch_norms.frozen(model.module):
            finetune(model, settings, workspace, constraint=_Sharing(clusters))
        workspace.notes.extend(_notes(clusters))
        return written(model, workspace, "clustered.zip")


class _Clusters:
    """Which weights of a tensor are one value; cluster 0 is of those that are zero."""

    def __init__(self, name: str, weight: "nn.Parameter", count: int) -> None:
        import torch

        self.name = name
        self._weight = weight
        values = weight.detach().flatten()
        self._zero = bool((values == 0).any())
        used = values[values != 0] if self._zero else values
        centres = _centres(used, count - self._zero)
        self.of = _nearest(values, centres) + self._zero
        self.of[values == 0] = 0
        self._sizes = torch.bincount(self.of, minlength=count).clamp(min=1)
        self.share()

    def share(self) -> None:
        """Give every weight the mean of its cluster."""
        import torch

        with torch.no_grad():
            values = self._weight.flatten()
            sums = torch.zeros(len(self._sizes), dtype=values.dtype)
            means = sums.index_add(0, self.of, values) / self._sizes
            if self._zero:
                means[0] = 0.0
            self._weight.copy_(means[self.of].reshape(self._weight.shape))

    def entropy_bits(self) -> float:
        """Bits a weight that an entropy coder of this tensor cannot go below (Shannon)."""
        import torch

        shares = torch.bincount(self.of).double() / len(self.of)
        shares = shares[shares > 0]
        return float(-(shares * shares.log2()).sum())

    def values(self) -> int:
        """How many different values are in use."""
        return len(set(self.of.tolist()))


class _Sharing:
    """Holds every tensor to the values that its clusters share, which follow from the weights."""

    def __init__(self, clusters: list[_Clusters]) -> None:
        self._clusters = clusters

    def __call__(self) -> None:
        for each in self._clusters:
            each.share()

    def state_dict(self) -> "dict[str, Any]":
        """Nothing: which weight is in which cluster is found anew, from the same source."""
        return {}

    def load_state_dict(self, state: "dict[str, Any]") -> None:
        """Nothing to go on from."""


def _centres(values: "Tensor", count: int) -> "Tensor":
    """Lloyd's k-means on a line, begun evenly between the extremes; fewer where none fall."""
    import torch

    centres = torch.linspace(float(values.min()), float(values.max()), count)
    for _ in range(_ROUNDS):
        nearest = _nearest(values, centres)
        sizes = torch.bincount(nearest, minlength=len(centres))
        sums = torch.zeros(len(centres)).index_add(0, nearest, values)
        moved = (sums / sizes)[sizes > 0]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _nearest(values: "Tensor", centres: "Tensor") -> "Tensor":
    import torch

    return torch.bucketize(values, (centres[1:] + centres[:-1]) / 2)


def _notes(clusters: list[_Clusters]) -> list[str]:
    weights = sum(len(each.of) for each in clusters)
    coded = sum(len(each.of) * each.entropy_bits() / 8 for each in clusters)
    listed = ", ".join(
        f"{each.name} {each.values()} values, {each.entropy_bits():.1f} bits" for each in clusters
    )
    return [
        f"{weights:,} weights share their values: {listed}; an entropy coder needs at least"
        f" {math.ceil(coded):,} B for them",
        "the file is no smaller, only its size after compression is; it is no faster",
    ]
