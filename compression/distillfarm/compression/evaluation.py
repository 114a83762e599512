"""How right a model's answers are, how much worse than the source's, and how sure that is."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distillfarm.compression.datasets import Array, is_classes
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.interval import Interval
from distillfarm.domain.variant import AGREEMENT, Quality

Outputs = Mapping[str, Array]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]
Evaluate = Callable[[object, Array], float]

POINTS = 100.0
_Z = 1.959963984540054  # 95 %, two-sided
_RESAMPLES = 200
_PERCENTILES = (2.5, 97.5)


class Metric(Protocol):
    """What the answers are judged by; larger is better."""

    @property
    def name(self) -> str:
        """``accuracy``, or the user's function."""

    def quality(self, outputs: Outputs, labels: Array) -> Quality:
        """How right ``outputs`` are."""

    def drop(self, reference: Outputs, outputs: Outputs, labels: Array) -> Interval:
        """Points lost against ``reference``'s outputs on the same samples."""


@dataclass(frozen=True)
class Accuracy:
    """The share of samples whose largest output is the labelled class."""

    name: str = "accuracy"

    def quality(self, outputs: Outputs, labels: Array) -> Quality:
        """Accuracy with Wilson's score interval."""
        right = self._right(outputs, labels)
        low, high = wilson(int(right.sum()), len(right))
        return Quality(self.name, float(right.mean()), low, high, len(right))

    def drop(self, reference: Outputs, outputs: Outputs, labels: Array) -> Interval:
        """The paired difference of accuracies."""
        before, after = self._right(reference, labels), self._right(outputs, labels)
        lost, won = int((before & ~after).sum()), int((after & ~before).sum())
        return paired_drop(lost, won, len(labels))

    def _right(self, outputs: Outputs, labels: Array) -> Flags:
        if not is_classes(labels):
            raise InvalidRequest(
                "accuracy needs one class index a sample in `label`; give an evaluator"
                " (file.py:function) for other targets"
            )
        scores = _scores(outputs)
        if labels.min() < 0 or labels.max() >= scores.shape[1]:
            raise InvalidRequest(
                f"data: labels run from {labels.min()} to {labels.max()}, the model has"
                f" {scores.shape[1]} classes"
            )
        # An answer of NaN is no answer, wherever argmax puts it.
        right: Flags = (scores.argmax(axis=1) == labels) & np.isfinite(scores).all(axis=1)
        return right


@dataclass(frozen=True)
class UserMetric:
    """The user's ``function(outputs, targets) -> float``; larger is better.

    ``outputs`` is the array [n, ...] of a model with one output, else a dict of arrays by name.
    Intervals are percentiles of 200 bootstrap resamples of the samples with a fixed seed; the
    drop's resamples are paired (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).
    """

    name: str
    evaluate: Evaluate

    def quality(self, outputs: Outputs, labels: Array) -> Quality:
        """The user's number with its bootstrap interval."""
        value = self._value(outputs, labels)
        draws = [self._value(_rows(outputs, rows), labels[rows]) for rows in _resamples(labels)]
        low, high = np.percentile(draws, _PERCENTILES)
        return Quality(
            self.name, value, min(float(low), value), max(float(high), value), len(labels)
        )

    def drop(self, reference: Outputs, outputs: Outputs, labels: Array) -> Interval:
        """The paired difference; a point is 0.01 of the user's number."""
        value = self._value(reference, labels) - self._value(outputs, labels)
        draws = [
            self._value(_rows(reference, rows), labels[rows])
            - self._value(_rows(outputs, rows), labels[rows])
            for rows in _resamples(labels)
        ]
        low, high = np.percentile(draws, _PERCENTILES)
        bounds = (value, min(float(low), value), max(float(high), value))
        return Interval(*(POINTS * each for each in bounds))

    def _value(self, outputs: Outputs, labels: Array) -> float:
        given: object = dict(outputs) if len(outputs) > 1 else next(iter(outputs.values()))
        try:
            value = float(self.evaluate(given, labels))
        except Exception as error:
            raise InvalidRequest(
                f"evaluator {self.name}: {type(error).__name__}: {error}"
            ) from error
        if not math.isfinite(value):
            raise InvalidRequest(f"evaluator {self.name} returned {value}; it must be a number")
        return value


def user_metric(path: Path, function: str) -> UserMetric:
    """Load the user's evaluator; runs their code, so only in a sandbox.

    Raises:
        InvalidRequest: the file does not run, or has no such function.
    """
    module = ModuleType("distillfarm_user_evaluator")
    try:
        exec(compile(path.read_bytes(), "evaluator.py", "exec"), module.__dict__)  # noqa: S102
        found = getattr(module, function)
    except Exception as error:
        raise InvalidRequest(f"evaluator {function!r}: {type(error).__name__}: {error}") from error
    return UserMetric(function, found)


def against_source(metric: Metric) -> Metric:
    """The same metric, named for labels that are the source model's own answers."""
    match metric:
        case UserMetric():
            return replace(metric, name=f"{AGREEMENT} by {metric.name}")
        case _:
            return Accuracy(AGREEMENT)


def as_labels(outputs: Outputs) -> Array:
    """A model's own answers as labels for another: classes int64 [n] from scores, else the values.

    Raises:
        InvalidRequest: it has several outputs.
    """
    if len(outputs) != 1:
        raise InvalidRequest(
            f"data: no array named label, and the model's outputs ({', '.join(outputs)}) are too"
            " many to stand for it; add label"
        )
    scores = class_scores(outputs)
    return next(iter(outputs.values())) if scores is None else scores.argmax(axis=1)


def class_scores(outputs: Outputs) -> NDArray[np.floating] | None:
    """The one output as [n, classes], None where it is no such thing.

    Dimensions of size 1 beside the classes are dropped.
    """
    if len(outputs) != 1:
        return None
    scores = next(iter(outputs.values()))
    flat = scores.reshape(len(scores), -1).astype(np.float32, copy=False)
    if flat.shape[1] < 2 or max(scores.shape[1:]) != flat.shape[1]:  # noqa: PLR2004
        return None
    return flat


def wilson(successes: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson, JASA 22, 1927)."""
    share, spread = successes / samples, _Z * _Z / samples
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / samples + spread / samples / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_drop(lost: int, won: int, samples: int) -> Interval:
    """Points of accuracy lost when ``lost`` samples turned wrong and ``won`` turned right.

    The bounds are Bonett and Price's adjusted Wald interval (J. Educ. Behav. Stat. 37, 2012),
    which Fagerland, Lydersen and Laake recommend (Statistics in Medicine 33, 2014).
    """
    value = (lost - won) / samples
    up, down = (lost + 1) / (samples + 2), (won + 1) / (samples + 2)
    half = _Z * math.sqrt((up + down - (up - down) ** 2) / (samples + 2))
    low, high = max(-1.0, up - down - half), min(1.0, up - down + half)
    return Interval(*(POINTS * each for each in (value, min(low, value), max(high, value))))


def _scores(outputs: Outputs) -> NDArray[np.floating]:
    scores = class_scores(outputs)
    if scores is not None:
        return scores
    if len(outputs) != 1:
        raise InvalidRequest(
            f"accuracy needs one output, the model has {', '.join(outputs)}; give an evaluator"
            " (file.py:function)"
        )
    name, output = next(iter(outputs.items()))
    raise InvalidRequest(
        f"accuracy needs scores [samples, classes], output {name} is {list(output.shape)};"
        " give an evaluator (file.py:function)"
    )


def _resamples(labels: Array) -> list[Rows]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, len(labels), len(labels)) for _ in range(_RESAMPLES)]


def _rows(outputs: Outputs, rows: Rows) -> Outputs:
    return {name: array[rows] for name, array in outputs.items()}
