"""Tries the whole space in its own order: the yardstick for every cleverer sampler."""

from collections.abc import Sequence

from distillfarm.compression.protocols import Observation
from distillfarm.domain.variant import Candidate


class GridSampler:
    """Asks for every candidate once, in the order of the space, whatever it is told."""

    def __init__(self, space: Sequence[Candidate], seed: int) -> None:
        del seed  # the order of the space is already decided
        self._left = list(dict.fromkeys(space))

    def ask(self, count: int) -> Sequence[Candidate]:
        """The next ``count`` candidates of the space."""
        asked, self._left = self._left[:count], self._left[count:]
        return asked

    def tell(self, observation: Observation) -> None:
        """Take a candidate that was tried before this sampler was made out of the space."""
        if observation.candidate in self._left:
            self._left.remove(observation.candidate)
