"""What a chipset's race has learnt: a surrogate for each quantity, taught by others, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distillfarm.controller.search.arms import Arm
from distillfarm.controller.search.features import Features
from distillfarm.controller.search.outlook import Told
from distillfarm.controller.search.quantities import values_of
from distillfarm.controller.search.surrogate import Known, Surrogate
from distillfarm.domain.study import Metric
from distillfarm.statistics.summary import LaunchValues

Launches = Mapping[Metric, tuple[float, ...]]
"""Those of one candidate, one value a launch."""


@dataclass(frozen=True)
class Measured:
    """All launches of a candidate on a chipset: what a race may learn from elsewhere."""

    chipset: str
    arm: Arm
    launches: LaunchValues


class Learning:
    """The surrogates of one chipset, over a pool that changes seldom."""

    def __init__(self, chipset: str) -> None:
        self._chipset = chipset
        self._elsewhere: tuple[Measured, ...] = ()
        self._pool: tuple[Features, ...] = ()
        self._surrogates: dict[Metric, Surrogate] = {}

    def hear(self, measured: Sequence[Measured]) -> None:
        """All that is known of other chipsets by now, instead of what was handed in before."""
        self._elsewhere = tuple(each for each in measured if each.chipset != self._chipset)
        self._surrogates = {}

    def over(self, pool: Sequence[Features]) -> None:
        """From now on it is about these candidates."""
        if self._pool != tuple(pool):
            self._pool = tuple(pool)
            self._surrogates = {}

    def told(
        self, metrics: Sequence[Metric], launches: Mapping[int, Launches]
    ) -> Mapping[Metric, Told]:
        """What is believed of the pool in each quantity, by ``launches`` of some of its rows."""
        return {each: self._told(each, launches) for each in metrics}

    def taught(self, metric: Metric) -> bool:
        """Whether other chipsets have something to say of a quantity."""
        return self._surrogate(metric).taught

    @property
    def elsewhere(self) -> int:
        """How many candidates other chipsets have measured."""
        return len(self._elsewhere)

    def _told(self, metric: Metric, launches: Mapping[int, Launches]) -> Told:
        surrogate = self._surrogate(metric)
        beliefs = surrogate.believe(list(launches), [each[metric] for each in launches.values()])
        return Told(beliefs, surrogate.launch_sd_log, surrogate.resolution)

    def _surrogate(self, metric: Metric) -> Surrogate:
        if metric not in self._surrogates:
            elsewhere = [
                Known(each.chipset, each.arm.features, values_of(metric, each.launches))
                for each in self._elsewhere
            ]
            self._surrogates[metric] = Surrogate(self._pool, elsewhere)
        return self._surrogates[metric]
