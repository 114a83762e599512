"""Around which values launches gather, when it is more than one."""

from collections.abc import Sequence

import numpy as np

from distillfarm.domain.measurement import Peak


def peaks(values: Sequence[float]) -> tuple[Peak, ...]:
    """The peaks of ``values`` (milliseconds, positive), the lowest first; () without values."""
    return (Peak(float(np.median(values)), 1.0),) if len(values) else ()
