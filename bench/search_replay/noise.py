"""What launches of the same thing differ by, in the manner of recorded phones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from distillfarm.statistics.distributions import median_absolute_deviation

_REFERENCE = 20_000
_TO_SD = 1.4826
_LEAST, _MOST = 0.01, 0.10


@dataclass(frozen=True)
class Noise:
    """Factors of a launch, with a median of 1.

    ``variation`` is the robust one of the body, whether that has one mode or two; the second has
    the share ``second`` and lies ``gap`` standard deviations of a mode above the first. A launch
    in ``1 / slow`` is slower by 20 to 80 %, whatever the body.
    """

    variation: float
    slow: float
    second: float = 0.0
    gap: float = 0.0

    def factors(self, random: np.random.Generator, count: int) -> NDArray[np.float64]:
        """So many launches."""
        return self._drawn(random, count) / self._median

    def _drawn(self, random: np.random.Generator, count: int) -> NDArray[np.float64]:
        slow = np.where(random.random(count) < self.slow, random.uniform(1.2, 1.8, count), 1.0)
        body: NDArray[np.float64] = np.exp(self._scale * self._body(random, count))
        return body * slow

    def _body(self, random: np.random.Generator, count: int) -> NDArray[np.float64]:
        return random.standard_normal(count) + self.gap * (random.random(count) < self.second)

    @cached_property
    def _scale(self) -> float:
        body = self._body(np.random.default_rng(0), _REFERENCE)
        return self.variation / (_TO_SD * median_absolute_deviation(body))

    @cached_property
    def _median(self) -> float:
        return float(np.median(self._drawn(np.random.default_rng(1), _REFERENCE)))


def drawn(random: np.random.Generator) -> Noise:
    """A phone: robust variation of 1 to 10 %, up to one slow launch in ten, at times two modes.

    Recorded by ExecuTorch's benchmarks: neural units 1 %, iPhones 3 %, Android CPUs 4 to 10 %.
    """
    variation = float(np.exp(random.uniform(np.log(_LEAST), np.log(_MOST))))
    slow, gap = float(random.uniform(0.0, 0.1)), float(random.uniform(2.0, 4.0))
    return Noise(variation, slow, 0.3, gap) if random.random() < 0.25 else Noise(variation, slow)
