"""Small pictures of one line, for where people would rather look than read."""

from collections.abc import Sequence

_HEIGHTS = "▁▂▃▄▅▆▇█"
_NOWHERE = "·"
_CELLS = 40


def spark(values: Sequence[float], cells: int = _CELLS) -> str:
    """Values in their order as bars, from the lowest to the highest; at most ``cells`` of them."""
    if not values:
        return ""
    step = max(1, len(values) / cells)
    shown = [values[int(index * step)] for index in range(min(len(values), cells))]
    low, high = min(values), max(values)
    scale = (len(_HEIGHTS) - 1) / (high - low) if high > low else 0.0
    return "".join(_HEIGHTS[round((each - low) * scale)] for each in shown)


def crowd(values: Sequence[float], low: float, high: float, cells: int = _CELLS) -> str:
    """How many values lie where between ``low`` and ``high``: higher bars are more of them."""
    counts = [0] * cells
    for value in values:
        place = (value - low) / (high - low) if high > low else 0.5
        counts[min(int(place * cells), cells - 1)] += 1
    scale = (len(_HEIGHTS) - 1) / max(*counts, 1)
    return "".join(_HEIGHTS[round(each * scale)] if each else _NOWHERE for each in counts)
