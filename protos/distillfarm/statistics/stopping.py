"""When a measurement has launches enough: by the width of its interval, by count or by time."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillfarm.domain.interval import Interval
from distillfarm.domain.job import MeasureSpec
from distillfarm.domain.measurement import Stop
from distillfarm.statistics.intervals import over_launches

_FEWEST = 6
_CONFIRMED = 0.8


@dataclass(frozen=True)
class StoppingRule:
    """At least ``least`` launches, at most ``most``, and no more than are enough.

    Enough is an interval of every figure no wider than ``width`` of its value (0: never), or
    ``budget_s`` seconds of the device spent (0: no such limit).

    Who looks often and stops at the first narrow interval picks those that are narrow by chance,
    and they miss the median too often: of 95 % intervals 91-93 % hold it then (simulated; the
    effect is that of Anscombe, "Fixed-sample-size analysis of sequential observations", Biometrics
    1954). So an interval counts as narrow when it was so a fifth of the launches ago as well, and
    never before six launches, of which the range alone covers 95 %.
    """

    least: int
    most: int
    width: float = 0.0
    budget_s: float = 0.0

    @classmethod
    def of(cls, spec: MeasureSpec) -> "StoppingRule":
        """The rule that a spec asks for."""
        return cls(spec.launches, spec.most_launches, spec.width, spec.budget_s)

    def reached(self, watched: Sequence[Sequence[float]], spent_s: float) -> Stop | None:
        """Why no further launch is to be made, or None while one is.

        Args:
            watched: for each figure one positive number a launch, in the order of launches.
            spent_s: for how long the device has been used.
        """
        made = min((len(each) for each in watched), default=0)
        if made < self.least:
            return None
        if self.most <= self.least:
            return Stop.COUNT
        if self.width > 0 and all(self._narrow(each) for each in watched):
            return Stop.WIDTH
        if made >= self.most:
            return Stop.LAUNCHES if self.width > 0 else Stop.COUNT
        if 0 < self.budget_s <= spent_s:
            return Stop.TIME
        return None

    def _narrow(self, values: Sequence[float]) -> bool:
        """Whether the interval is narrow now and was so a fifth of the launches ago."""
        before = int(len(values) * _CONFIRMED)
        return before >= _FEWEST and all(
            _width(over_launches(values[:count])) <= self.width for count in (len(values), before)
        )


def _width(interval: Interval) -> float:
    """How wide an interval is, relative to its value."""
    return (interval.high - interval.low) / interval.value
