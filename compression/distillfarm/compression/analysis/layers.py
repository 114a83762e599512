"""What one operator of a model costs, in the same words for every format."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from distillfarm.domain.model import LayerCost
from distillfarm.sandbox.text import one_line

FREE_SIZE = 64
"""What a free dimension other than the batch counts as."""
MAX_NAME_CHARACTERS = 120


@dataclass(frozen=True)
class Layer:
    """One operator, for one sample.

    ``weight_bytes`` are those that it reads: of a table that it looks rows up in, these rows.
    ``activation_bytes`` are its other inputs and outputs. ``parameters`` and ``held_bytes`` are the
    weights that it is the first to use. ``kind`` is what the framework calls the layer, if it does.
    ``time_us`` is None where no profiler saw it.
    """

    name: str
    operator: str
    macs: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0
    parameters: int = 0
    held_bytes: int = 0
    kind: str = ""
    time_us: float | None = None

    @property
    def moved_bytes(self) -> int:
        """Everything that it reads and writes."""
        return self.weight_bytes + self.activation_bytes

    def cost(self) -> LayerCost:
        """The same in the vocabulary of the domain."""
        return LayerCost(
            one_line(self.name, MAX_NAME_CHARACTERS),
            one_line(self.operator, MAX_NAME_CHARACTERS),
            self.macs,
            self.parameters,
            self.weight_bytes,
            self.activation_bytes,
            self.time_us,
        )


@dataclass(frozen=True)
class Facts:
    """A model taken apart; ``dtypes`` are those of its weights, the most bytes first."""

    parameters: int
    layers: tuple[Layer, ...]
    dtypes: tuple[str, ...]


def merged(layers: Iterable[Layer], times_us: Mapping[str, float]) -> tuple[Layer, ...]:
    """Operators of one name as one layer, under what it is, else the operator that costs most."""
    groups: dict[str, list[Layer]] = {}
    for each in layers:
        groups.setdefault(each.name, []).append(each)
    return tuple(_sum(group, times_us.get(name)) for name, group in groups.items())


def worst_first(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """By time where one was measured, else by multiply-accumulates, then by bytes moved."""
    return tuple(
        sorted(layers, key=lambda each: (-(each.time_us or 0), -each.macs, -each.moved_bytes))
    )


def _sum(group: Sequence[Layer], time_us: float | None) -> Layer:
    dearest = max(group, key=lambda each: (each.macs, each.weight_bytes, each.activation_bytes))
    return replace(
        dearest,
        operator=dearest.kind or dearest.operator,
        macs=sum(each.macs for each in group),
        weight_bytes=sum(each.weight_bytes for each in group),
        activation_bytes=sum(each.activation_bytes for each in group),
        parameters=sum(each.parameters for each in group),
        held_bytes=sum(each.held_bytes for each in group),
        time_us=time_us,
    )


def sample_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape`` with one sample, and every other free dimension as ``FREE_SIZE``."""
    return tuple(
        1 if size < 0 and index == 0 else FREE_SIZE if size < 0 else size
        for index, size in enumerate(shape)
    )


def by_bytes(sizes: dict[str, int]) -> tuple[str, ...]:
    """The keys, the most bytes first."""
    return tuple(sorted(sizes, key=lambda name: (-sizes[name], name)))
