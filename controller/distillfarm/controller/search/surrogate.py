"""What launches of one quantity tell of candidates that were not launched, across chipsets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillfarm.controller.search.features import Encoding, Features
from distillfarm.controller.search.noise import estimate, launch_sd, resolution
from distillfarm.controller.search.process import Inputs, Matrix, Process, Vector
from distillfarm.domain.interval import UNBOUNDED, Interval
from distillfarm.statistics.distributions import normal_density

_POWERS = (0.0, 0.5, 1.0)
"""What is smooth in the features: the logarithm, the square root, or the quantity itself.

Latencies of layers add up, those of runtimes multiply; the likelihood tells (Box & Cox, "An
Analysis of Transformations", 1964).
"""
_LEAST = 0.02
"""Smallest value, as a part of the typical one, that is told from nothing."""
_BLIND_SD_LOG = 2.0
_CARRIED_SD_LOG = 0.7
_FEWEST = 4
"""Candidates that have to be measured on another chipset for it to be listened to."""
_ROUNDED = 12.0
_SLOW_SHARE, _SLOW_LOG = 0.07, 0.4
"""Of all launches so many are slower by up to a half for no reason in the candidate."""
ODD_SHARE, ODD_SD_LOG = 0.05, 0.25
"""Of all candidates so many are unlike what their features tell, by about so much."""
_TINY = 1e-300
_REPEATED = 0.5
"""Of a launch's variance: what has less was launched often enough for its median to be trusted."""
_GROWN = 1.25
"""The settings are searched anew when there are so many times the values of the last time."""


@dataclass(frozen=True)
class Known:
    """The launches of one candidate on one chipset, in one quantity; all values are positive."""

    chipset: str
    features: Features
    values: tuple[float, ...]


@dataclass(frozen=True)
class Belief:
    """A positive quantity that is not known exactly: its logarithm as a normal distribution."""

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


@dataclass(frozen=True)
class _Fit:
    power: float
    process: Process
    count: int


@dataclass(frozen=True)
class _Seen:
    """Rows of the pool with their values: logarithms relative to a typical one, and variances."""

    rows: NDArray[np.intp]
    logs: Vector
    variances: Vector


class Surrogate:
    """Learns one quantity of a fixed pool of candidates on one chipset.

    Every other chipset of which enough is known becomes a feature: what its launches tell of each
    candidate, relative to the others. The belief to begin with is that this carries over; how far
    it does is learnt from this chipset's own launches.
    """

    def __init__(self, pool: Sequence[Features], elsewhere: Sequence[Known] = ()) -> None:
        self._points = Encoding(pool).points(pool)
        self._told = _told_elsewhere(pool, elsewhere)
        self._level_log = float(np.mean([np.log(each.values).mean() for each in elsewhere] or [0]))
        self._last: _Fit | None = None
        self.launch_sd_log = launch_sd([])
        """How much a single launch varies here."""
        self.resolution = 0.0
        """The step in which launches are told here; 0 where it is too fine to see."""

    @property
    def taught(self) -> bool:
        """Whether other chipsets have something to say."""
        return bool(self._told.size)

    def believe(self, rows: Sequence[int], values: Sequence[tuple[float, ...]]) -> list[Belief]:
        """What is believed of the whole pool after ``values`` were measured of its ``rows``."""
        expected = self._told.mean(axis=1) if self.taught else np.zeros(len(self._points))
        if not rows:
            sd = _CARRIED_SD_LOG if self.taught else _BLIND_SD_LOG
            return [Belief(float(each) + self._level_log, sd) for each in expected]
        seen = np.array(rows, dtype=np.intp)
        self.resolution = resolution(values)
        self.launch_sd_log = launch_sd(values, self.resolution)
        estimates = [estimate(each) for each in values]
        logs = np.array([each for each, _ in estimates])
        variances = self.launch_sd_log**2 * np.array([part for _, part in estimates])
        variances += (self.resolution * np.exp(-logs)) ** 2 / _ROUNDED
        scale_log = float(np.median(logs - expected[seen]))
        self._last = self._fit(_Seen(seen, logs - scale_log, variances), expected)
        power = self._last.power
        mean, variance = self._last.process.predict(self._inputs(power), seen)
        middle = _unwarped(mean + _warped(expected, power), power)
        sds = np.minimum(np.sqrt(variance) / middle**power, _BLIND_SD_LOG)
        centres = np.log(middle) + scale_log
        return [Belief(float(log), float(sd)) for log, sd in zip(centres, sds, strict=True)]

    def _fit(self, seen: _Seen, expected: Vector) -> _Fit:
        last, count = self._last, len(seen.rows)
        if last is not None and count < _GROWN * last.count:
            process = self._process(seen, expected, last.power, last.process.theta)
            return _Fit(last.power, process, last.count)
        fits = [_Fit(power, self._process(seen, expected, power), count) for power in _POWERS]
        # The density of the quantity itself, whatever was fitted to.
        return min(fits, key=lambda fit: fit.process.loss + ((1 - fit.power) * seen.logs).sum())

    def _process(
        self, seen: _Seen, expected: Vector, power: float, theta: Vector | None = None
    ) -> Process:
        """What differs from what all others tell of it counts for less.

        Either its launches, hardly repeated, were just slow, or it is unlike its neighbours. Then
        it is believed what it showed, but says nothing of them.
        """
        logs = np.maximum(seen.logs, math.log(_LEAST))
        slope = np.exp(power * logs)
        values = _warped(logs, power) - _warped(expected, power)[seen.rows]
        process = Process(
            self._inputs(power).rows(seen.rows),
            values,
            seen.variances * slope**2,
            theta,
            keep=theta is not None,
        )
        off, deviation = process.left_out()
        plain = (1 - ODD_SHARE) * normal_density(off, deviation) + _TINY
        odd = ODD_SHARE * normal_density(off, np.hypot(deviation, ODD_SD_LOG * slope))
        slow = _SLOW_SHARE / (_SLOW_LOG * slope) * (off > 0)
        slow[seen.variances < _REPEATED * self.launch_sd_log**2] = 0.0
        either = plain + odd + slow
        return process.doubting(
            (slow / either * _SLOW_LOG * slope) ** 2, odd / either * (ODD_SD_LOG * slope) ** 2
        )

    def _inputs(self, power: float) -> Inputs:
        warped = _warped(self._told, power)
        return Inputs(self._points, warped - warped.mean(axis=0))


def _told_elsewhere(pool: Sequence[Features], known: Sequence[Known]) -> Matrix:
    """[pool, chipsets]: logarithms, relative to the chipset's median, of what is expected there."""
    columns = []
    for chipset in sorted({each.chipset for each in known}):
        there: dict[Features, tuple[float, ...]] = {}
        for each in known:
            if each.chipset == chipset:
                there[each.features] = there.get(each.features, ()) + each.values
        if len(there) < _FEWEST:
            continue
        everyone = list(dict.fromkeys([*there, *pool]))
        beliefs = Surrogate(everyone).believe(range(len(there)), list(there.values()))
        means = {one: each.mean_log for one, each in zip(everyone, beliefs, strict=True)}
        column = np.array([means[each] for each in pool])
        columns.append(column - np.median(column))
    return np.array(columns).T.reshape(len(pool), len(columns))


def _warped(logs: Matrix, power: float) -> Matrix:
    if power == 0:
        return logs
    warped: Matrix = (np.exp(power * logs) - 1) / power
    return warped


def _unwarped(values: Matrix, power: float) -> Matrix:
    if power == 0:
        plain: Matrix = np.exp(values)
        return plain
    root: Matrix = np.maximum(1 + power * values, _LEAST**power)
    return root ** (1 / power)
