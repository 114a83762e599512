"""An estimate with its uncertainty."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds that hold its true value at 95 %, all in one unit."""

    value: float
    low: float
    high: float
