"""A quantiser that can leave single layers out, whatever the file format, and what it reached."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from distillfarm.compression.protocols import PassRefused, Workspace

NOTHING: frozenset[str] = frozenset()
_IDLE_SHARE = 0.1
_PERCENT = 100


class Quantiser(Protocol):
    """One technique on one file, ready to be applied any number of times."""

    layers: Sequence[str]
    """What it quantises, in the order of the graph: names for ``kept``."""
    remedy: str
    """What to use for what it has no kernels for."""

    def quantise(self, destination: Path, kept: Collection[str] = NOTHING) -> None:
        """Write the quantised file; the layers in ``kept`` stay in floating point."""

    def left(self, path: Path) -> Counter[str]:
        """Numbers of float matrices by the operator that reads them."""

    def before(self) -> Counter[str]:
        """The same of the file before."""


def quantised(quantiser: Quantiser, destination: Path, workspace: Workspace) -> None:
    """Quantise everything, and note what stayed in floating point.

    Raises:
        PassRefused: next to nothing could be quantised; the text names the operators.
    """
    if not quantiser.layers:
        raise PassRefused(_idle(quantiser.before(), quantiser.remedy))
    quantiser.quantise(destination)
    before, left = quantiser.before(), quantiser.left(destination)
    done = before.total() - left.total()
    if done < _IDLE_SHARE * before.total():
        raise PassRefused(_idle(left, quantiser.remedy))
    stayed = f"; in floating point stay {_listed(left, before.total())}" if left else ""
    workspace.notes.append(f"quantised {done:,} of {before.total():,} weights{stayed}")


def _idle(left: Counter[str], remedy: str) -> str:
    weights = _listed(left, left.total()) or "no matrix of floats"
    return f"it has no kernel for what holds this model's weights: {weights}; {remedy}"


def _listed(weights: Counter[str], total: int) -> str:
    return ", ".join(
        f"{name} ({count:,} weights, {count / total * _PERCENT:.0f} %)"
        for name, count in weights.most_common()
    )
