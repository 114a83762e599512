"""Inputs as the field gives them, not the laboratory: noisy, darker, with pieces missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distillfarm.compression.npz import Array
from distillfarm.domain.model import Signature

Inputs = Mapping[str, Array]
Change = Callable[[Array, np.random.Generator], Array]

# Noise as in the mildest Gaussian noise of ImageNet-C, brightness as in its second level
# (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness", ICLR 2019).
IMAGE_NOISE, BRIGHTNESS = 0.08, 0.2
FEATURE_NOISE, TOKEN_DROP, STEP_DROP = 0.1, 0.1, 0.1
_VECTOR, _SEQUENCE, _IMAGE = 2, 3, 4


@dataclass(frozen=True)
class Shift:
    """A change to the inputs ``names``; ``name`` says in words what it is and how strong."""

    name: str
    names: tuple[str, ...]
    change: Change

    def __call__(self, inputs: Inputs, seed: int) -> Inputs:
        """The inputs with this change; the same seed gives the same.

        Inputs of one shape lose the same pieces, so that a mask goes with what it masks.
        """
        changed = {
            name: self.change(inputs[name], np.random.default_rng(seed)).astype(inputs[name].dtype)
            for name in self.names
        }
        return {**inputs, **changed}


def shifts_for(signature: Signature) -> tuple[Shift, ...]:
    """What can be done to such inputs; nothing for a kind that is not known.

    Samples of three dimensions are images, of two with real numbers sequences of vectors, of one
    with integers token ids and with real numbers vectors.
    """
    kinds: dict[tuple[int, bool], list[str]] = {}
    for each in signature.inputs:
        dtype = np.dtype(each.dtype)
        rank = len(each.shape)
        if dtype.kind in "fiu":
            # An image is one in bytes too.
            kinds.setdefault((rank, dtype.kind == "f" or rank == _IMAGE), []).append(each.name)
    return tuple(
        Shift(words, tuple(names), change)
        for (rank, real), names in kinds.items()
        for words, change in _CHANGES.get((rank, real), ())
    )


def _image_noise(images: Array, generator: np.random.Generator) -> Array:
    noise = generator.standard_normal(images.shape, np.float32)
    return _in_range(images, _numbers(images) + IMAGE_NOISE * _spread(images) * noise)


def _brighter(images: Array, _generator: np.random.Generator) -> Array:
    return _in_range(images, _numbers(images) + BRIGHTNESS * _spread(images))


def _darker(images: Array, _generator: np.random.Generator) -> Array:
    return _in_range(images, _numbers(images) - BRIGHTNESS * _spread(images))


def _feature_noise(features: Array, generator: np.random.Generator) -> Array:
    axes = tuple(range(features.ndim - 1))
    noise = generator.standard_normal(features.shape, np.float32)
    numbers = _numbers(features)
    noisy: Array = numbers + FEATURE_NOISE * numbers.std(axis=axes) * noise
    return noisy


def _dropped_tokens(tokens: Array, generator: np.random.Generator) -> Array:
    dropped = generator.random(tokens.shape) < TOKEN_DROP
    dropped[:, 0] = False  # the place of a classification token
    return np.where(dropped, 0, tokens)


def _dropped_steps(sequences: Array, generator: np.random.Generator) -> Array:
    dropped = generator.random(sequences.shape[:2]) < STEP_DROP
    return np.where(dropped[:, :, None], 0, sequences)


_CHANGES: Mapping[tuple[int, bool], tuple[tuple[str, Change], ...]] = {
    (_IMAGE, True): (
        (f"noise of {IMAGE_NOISE:.0%} of the range", _image_noise),
        (f"brighter by {BRIGHTNESS:.0%} of the range", _brighter),
        (f"darker by {BRIGHTNESS:.0%} of the range", _darker),
    ),
    (_SEQUENCE, True): (
        (f"{STEP_DROP:.0%} of time steps zero", _dropped_steps),
        (f"noise of {FEATURE_NOISE:.0%} of each feature's spread", _feature_noise),
    ),
    (_VECTOR, False): ((f"{TOKEN_DROP:.0%} of tokens zero", _dropped_tokens),),
    (_VECTOR, True): ((f"noise of {FEATURE_NOISE:.0%} of each feature's spread", _feature_noise),),
}


def _spread(images: Array) -> float:
    numbers = _numbers(images)
    return float(numbers.max() - numbers.min())


def _in_range(images: Array, changed: NDArray[np.floating]) -> Array:
    numbers = _numbers(images)
    clipped = np.clip(changed, numbers.min(), numbers.max())
    kept: Array = clipped if images.dtype.kind == "f" else np.rint(clipped)
    return kept


def _numbers(array: Array) -> NDArray[np.float32]:
    return array.astype(np.float32, copy=False)
