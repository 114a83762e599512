"""Launches of a device as a distribution whose median is known, to draw measurements from.

Recorded launches are drawn from their own quantiles, interpolated and smoothed by their rounding.
The made-up ones are scaled by the limits of a class of device, not fitted to any.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from distillfarm.statistics.classes import DeviceClass

RECORDED = Path(__file__).with_name("executorch_launches.json")

Values = NDArray[np.float64]
Shape = tuple[int, int]
Draw = Callable[[np.random.Generator, Shape], Values]

_DECIMALS = 7
_NAMES = {
    "npu": DeviceClass.NPU,
    "gpu": DeviceClass.GPU,
    "iphone": DeviceClass.IPHONE_CPU,
    "host": DeviceClass.HOST_CPU,
}


@dataclass(frozen=True)
class Population:
    """``draw`` gives [measurements, launches] in ms; launches of a row come one after the other."""

    name: str
    kind: DeviceClass
    draw: Draw
    median: float


def recorded(path: Path) -> list[Population]:
    """The devices of a file of launches."""
    return [_device(name, values) for name, values in json.loads(path.read_text()).items()]


def steady(kind: DeviceClass) -> list[Population]:
    """Devices of a class that are as steady as most of it: at half of its limit."""
    spread = kind.variation_limit / 2
    return [
        Population(f"{kind.value}: {name}", kind, draw, median)
        for name, draw, median in (
            ("lognormal", _lognormal(spread), 1.0),
            ("1 launch in 10 slow", _slow(spread), _median(_slow(spread))),
            ("heavy tails, t(3)", _student(spread, 3), 1.0),
            ("skewed, exponential", _exponential(spread), 1 + 1.5 * spread * np.log(2)),
        )
    ]


def shapes() -> list[Population]:
    """Distributions of every shape, with the share of dependence that is promised for."""
    kind = DeviceClass.ANDROID_CPU
    return [
        Population(name, kind, draw, _median(draw) if median is None else median)
        for name, draw, median in (
            ("lognormal 5 %", _lognormal(0.05), 1.0),
            ("lognormal 30 %", _lognormal(0.30), 1.0),
            ("1 launch in 10 slow", _slow(0.03), None),
            ("heavy tails, t(3)", _student(0.04, 3), 1.0),
            ("heavier, t(1.5)", _student(0.04, 1.5), 1.0),
            ("exponential", _exponential(0.07), None),
            ("Pareto 1.5", lambda chance, shape: 1 + 0.05 * chance.pareto(1.5, shape), None),
            ("two peaks 7:3", _two_peaks(0.3), None),
            ("two peaks 6:4", _two_peaks(0.4), None),
            ("neighbours alike, 0.2", _alike(0.05, 0.2), 1.0),
        )
    ]


def alike(correlation: float) -> Population:
    """Launches of which each resembles the one before."""
    name = f"neighbours alike, {correlation:g}"
    return Population(name, DeviceClass.ANDROID_CPU, _alike(0.05, correlation), 1.0)


def _device(name: str, launches: list[float]) -> Population:
    ordered = np.sort(np.asarray(launches, dtype=float))
    digits = next(d for d in range(_DECIMALS + 1) if np.allclose(ordered, ordered.round(d), rtol=0))
    half = 0.5 * 10.0**-digits
    places = np.linspace(0, 1, ordered.size)

    def draw(chance: np.random.Generator, shape: Shape) -> Values:
        exact: Values = np.interp(chance.random(shape), places, ordered)
        return exact + chance.uniform(-half, half, shape)

    kind = next((kind for word, kind in _NAMES.items() if word in name), DeviceClass.ANDROID_CPU)
    return Population(name, kind, draw, _median(draw))


def _median(draw: Draw) -> float:
    return float(np.median(draw(np.random.default_rng(0), (1000, 2000))))


def _lognormal(spread: float) -> Draw:
    return lambda chance, shape: np.exp(spread * chance.standard_normal(shape))


def _slow(spread: float) -> Draw:
    def draw(chance: np.random.Generator, shape: Shape) -> Values:
        slower = np.where(chance.random(shape) < 0.1, chance.uniform(1.2, 1.8, shape), 1.0)
        launches: Values = slower * np.exp(spread * chance.standard_normal(shape))
        return launches

    return draw


def _student(spread: float, freedom: float) -> Draw:
    return lambda chance, shape: np.exp(spread * 0.8 * chance.standard_t(freedom, shape))


def _exponential(spread: float) -> Draw:
    return lambda chance, shape: 1 + 1.5 * spread * chance.exponential(1.0, shape)


def _two_peaks(share: float) -> Draw:
    """As Core ML's load times, around 31 and 50 ms."""

    def draw(chance: np.random.Generator, shape: Shape) -> Values:
        centre = np.where(chance.random(shape) < share, 50.0, 31.0)
        return centre * np.exp(0.02 * chance.standard_normal(shape))

    return draw


def _alike(spread: float, correlation: float) -> Draw:
    def draw(chance: np.random.Generator, shape: Shape) -> Values:
        noise = chance.standard_normal((shape[0], shape[1] + 50))
        scale = np.sqrt(1 - correlation**2)
        launches: Values = lfilter([scale], [1, -correlation], noise, axis=1)[:, 50:]
        return np.exp(spread * launches)

    return draw
