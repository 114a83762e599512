"""An estimate with its uncertainty."""

import sys
from dataclasses import dataclass

UNBOUNDED = sys.float_info.max
"""The upper bound of an estimate that nothing bounds; a number, since JSON has no infinity."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds that hold its true value at 95 %, all in one unit."""

    value: float
    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """Whether the data say anything about the uncertainty; one launch alone does not."""
        return self.high < UNBOUNDED
