"""What launches of one quantity tell of candidates that were not launched, across chipsets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import BayesianRidge

from distillfarm.controller.search.features import Encoding, Features
from distillfarm.domain.interval import UNBOUNDED, Interval

_BLIND_SD_LOG = 2.0


@dataclass(frozen=True)
class Known:
    """The launches of one candidate on one chipset, in one quantity; all values are positive."""

    chipset: str
    features: Features
    values: tuple[float, ...]


@dataclass(frozen=True)
class Belief:
    """A positive quantity before it is measured: its logarithm as a normal distribution."""

    mean_log: float
    sd_log: float

    def interval(self) -> Interval:
        """The same at 95 %, in the quantity's own unit."""
        reach = 1.96 * self.sd_log
        high = self.mean_log + reach
        return Interval(
            math.exp(self.mean_log),
            math.exp(self.mean_log - reach),
            math.exp(high) if high < math.log(UNBOUNDED) else UNBOUNDED,
        )


class Surrogate:
    """Learns the logarithm of a quantity from features, across chipsets."""

    def __init__(self) -> None:
        self._encoding = Encoding(())
        self._chipsets: list[str] = []
        self._model: BayesianRidge | None = None

    def fit(self, known: Sequence[Known]) -> None:
        """Learn from all of ``known``, instead of what was learnt before."""
        known = [each for each in known if each.values]
        self._model = None
        if not known:
            return
        self._encoding = Encoding([each.features for each in known])
        self._chipsets = sorted({each.chipset for each in known})
        logs = np.array([float(np.median(np.log(each.values))) for each in known])
        self._model = BayesianRidge()
        self._model.fit(
            self._points([each.chipset for each in known], [each.features for each in known]), logs
        )

    def predict(self, chipset: str, features: Features) -> Belief:
        """What it expects of a candidate on a chipset; very wide where nothing is known."""
        return self.predict_all(chipset, [features])[0]

    def predict_all(self, chipset: str, features: Sequence[Features]) -> list[Belief]:
        """The same for several at once."""
        if self._model is None:
            return [Belief(0.0, _BLIND_SD_LOG)] * len(features)
        points = self._points([chipset] * len(features), features)
        means, deviations = self._model.predict(points, return_std=True)
        return [Belief(float(mean), float(sd)) for mean, sd in zip(means, deviations, strict=True)]

    def _points(
        self, chipsets: Sequence[str], features: Sequence[Features]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        own = np.array([[float(each == name) for name in self._chipsets] for each in chipsets])
        return np.hstack([self._encoding.points(features), own.reshape(len(chipsets), -1)])
