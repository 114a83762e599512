"""Two artifacts that were compared, side by side."""

from dataclasses import dataclass

from distillfarm.domain.hardware import Target
from distillfarm.domain.measurement import (
    Comparison,
    Launch,
    Measurement,
    Outcome,
    RivalRun,
    Summary,
)


@dataclass(frozen=True)
class Side:
    """One of the two; ``summary`` is None where it has no numbers."""

    artifact_digest: str
    target: Target
    outcome: Outcome
    reason: str
    launches: tuple[Launch, ...]
    summary: Summary | None


@dataclass(frozen=True)
class Compared:
    """Two artifacts with what shows of the second against the first.

    ``second`` is None where one job launched both in turn: the second is then the rival of
    ``first``. ``comparisons`` are empty unless both sides have numbers.
    """

    first: Measurement
    first_summary: Summary | None
    second: Measurement | None
    second_summary: Summary | None
    comparisons: tuple[Comparison, ...]

    @property
    def sides(self) -> tuple[Side, ...]:
        """The first and, unless it was never launched, the second."""
        second = self.second or self.first.rival
        first = _side(self.first, self.first_summary)
        return (first, _side(second, self.second_summary)) if second else (first,)


def _side(of: Measurement | RivalRun, summary: Summary | None) -> Side:
    return Side(of.artifact_digest, of.target, of.outcome, of.reason, of.launches, summary)
