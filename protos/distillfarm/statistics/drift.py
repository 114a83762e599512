"""Whether a launch grew slower while it was measured, and how launches that never rest fare."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distillfarm.domain.measurement import Launch, Sustained

_NS_PER_MS = 1e6
_NS_PER_S = 1e9

_FEWEST_SAMPLES = 100
_PARTS = 40
# Changes nearer to the edges than this share of a launch rest on too few samples.
_EDGE = 0.1
# Simulated 99th percentiles of the statistic are 3.5 for independent samples and 5.0 where samples
# are correlated over a twentieth of the launch, whatever their distribution.
_CRITICAL = 5.25
_SMALLEST = 0.01
_MOST_CORRELATED = 0.95
_SLOWER = 1.10


def drift(samples_ns: Sequence[int]) -> float:
    """The relative change from a launch's begin to its end; 0 where noise explains it.

    The largest standardised difference between before and after any moment (a CUSUM test for a
    change at an unknown time: Andrews, "Tests for parameter instability and structural change with
    unknown change point", Econometrica 1993), over the medians of 40 parts, which spikes do not
    move. Consecutive parts are not independent, so the noise is what is left beside the better of a
    step and a ramp, taken as autoregressive (Andrews and Monahan, Econometrica 1992). A launch
    without drift shows one in less than 1 of 100 cases as long as its samples are correlated over
    no more than a twentieth of it; a throttling step of three times the noise is found, and a ramp
    of twice that. Less than 1 % is no drift that matters.

    Args:
        samples_ns: the samples of one launch, in order; fewer than 100 never show a drift.

    Returns:
        0.1 where the last fifth is 10 % slower than the first.
    """
    if len(samples_ns) < _FEWEST_SAMPLES:
        return 0.0
    parts = _medians(np.asarray(samples_ns, dtype=float), _PARTS)
    if _change(parts) <= _CRITICAL:
        return 0.0
    fifth = len(samples_ns) // 5
    begin, end = np.median(samples_ns[:fifth]), np.median(samples_ns[-fifth:])
    relative = float(end / begin - 1)
    return relative if abs(relative) >= _SMALLEST else 0.0


def sustained(launches: Sequence[Launch]) -> Sustained | None:
    """How latency went in launches that never rested, as medians over launches.

    A launch has become slower where its parts are more than 10 % above its first tenth from some
    moment on to its end. Samples are evenly spread over ``sampling_s``; where a launch does not
    tell, one began when the other ended.

    Returns:
        None without launches, or where one has fewer than 100 samples.
    """
    if not launches or any(len(each.samples_ns) < _FEWEST_SAMPLES for each in launches):
        return None
    tenths = [_medians(np.asarray(each.samples_ns, dtype=float), 10) for each in launches]
    slower_s = float(np.median([_slower_after_s(each) for each in launches]))
    return Sustained(
        first_ms=float(np.median([each[0] for each in tenths])) / _NS_PER_MS,
        last_ms=float(np.median([each[-1] for each in tenths])) / _NS_PER_MS,
        slower_after_s=slower_s if np.isfinite(slower_s) else None,
    )


def _slower_after_s(launch: Launch) -> float:
    """When a launch had become slower for good; infinite where it never did."""
    samples = np.asarray(launch.samples_ns, dtype=float)
    limit = _SLOWER * float(_medians(samples, 10)[0])
    fast = np.flatnonzero(_medians(samples, _PARTS) <= limit)
    parts_before = int(fast[-1]) + 1 if fast.size else 0
    if parts_before == _PARTS:
        return float("inf")
    if launch.sampling_s > 0:
        return launch.sampling_s * parts_before / _PARTS
    return float(samples[: samples.size * parts_before // _PARTS].sum()) / _NS_PER_S


def _medians(samples: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    return np.array([np.median(each) for each in np.array_split(samples, parts)])


def _change(parts: NDArray[np.float64]) -> float:
    """How many standard errors the largest change is worth."""
    count = parts.size
    centred = parts - parts.mean()
    before = np.arange(1, count)
    sums = np.cumsum(centred)[:-1]
    gains = sums**2 * count / (before * (count - before))
    edge = int(count * _EDGE)
    gains[: edge - 1] = gains[count - edge :] = 0.0
    moment = int(gains.argmax())
    noise = centred - _explained(centred, sums, gains, moment)
    energy = float((noise**2).sum())
    if energy <= np.finfo(float).eps * float((parts**2).sum()):
        return float("inf") if gains[moment] > 0 and np.ptp(parts) > 0 else 0.0
    lagged = float((noise[1:] * noise[:-1]).sum()) / energy
    # Kendall 1954: so much too small are correlations of short series.
    correlation = min(max(lagged + (2 + 4 * lagged) / count, 0.0), _MOST_CORRELATED)
    inflation = (1 + correlation) / (1 - correlation)
    return float(np.sqrt(gains[moment] / (energy / (count - 2) * inflation)))


def _explained(
    centred: NDArray[np.float64],
    sums: NDArray[np.float64],
    gains: NDArray[np.float64],
    moment: int,
) -> NDArray[np.float64]:
    """The step at ``moment`` or the straight line, whichever is nearer to the parts."""
    count = centred.size
    line = np.linspace(-1.0, 1.0, count)
    slope = float((centred * line).sum() / (line**2).sum())
    if slope**2 * (line**2).sum() > gains[moment]:
        return slope * line
    step = np.full(count, -sums[moment] / (count - moment - 1))
    step[: moment + 1] = sums[moment] / (moment + 1)
    return step
