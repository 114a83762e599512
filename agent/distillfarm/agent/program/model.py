"""What the program needs of a runtime: a loaded model that can be bound and invoked."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]


class Refused(Exception):
    """The runtime will not load or execute this model on this target; the text is its reason."""


class OutOfMemory(Exception):
    """The runtime asked for memory and got none."""


class BadInputs(Exception):
    """The fixed inputs or reference outputs do not belong to this model."""


class Tensor(NamedTuple):
    """An input or output; a dimension of -1 is free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Placed(NamedTuple):
    """How many operators a back end of the runtime took, in the runtime's word."""

    unit: str
    nodes: int


class Model(Protocol):
    """A loaded model."""

    def inputs(self) -> list[Tensor]:
        """What goes in."""

    def bind(self, arrays: "Arrays") -> Callable[[], object]:
        """Fix the inputs; what comes back runs one inference and does nothing else."""

    def outputs(self) -> "dict[str, Array]":
        """Copies of the outputs of the last inference."""

    def placements(self) -> list[Placed]:
        """Which back end took how many operators, as the runtime tells."""


# What runtimes say when memory that they asked for was refused; they have no class for it.
_NO_MEMORY_WORDS = ("bad_alloc", "bad allocation", "Failed to allocate memory", "out of memory")


def runtime_failure(error: Exception) -> Refused | OutOfMemory:
    """What an exception of a runtime means."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY_WORDS):
        return OutOfMemory(text)
    return Refused(text)
