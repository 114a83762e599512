"""The fixed inputs and reference outputs: read, made up, cut into samples, compared."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from distillfarm.agent.program.model import BadInputs, Tensor

if TYPE_CHECKING:
    from distillfarm.agent.program.model import Array


class Case(NamedTuple):
    """One inference: its inputs, and the outputs to be expected (none without a reference)."""

    inputs: dict[str, Array]
    expected: dict[str, Array]


class Error(NamedTuple):
    """How far an output is from the reference.

    ``largest`` is the largest absolute difference, None where it is not finite or the shapes
    differ; ``magnitude`` the reference's largest absolute value.
    """

    name: str
    largest: float | None
    magnitude: float


def read(path: str) -> dict[str, Array]:
    """The arrays of an .npz; nothing for an empty path.

    Raises:
        BadInputs: no .npz, or pickled objects inside.
    """
    if not path:
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise BadInputs(f"the file of fixed arrays cannot be read: {error}") from error


def cases(
    declared: Sequence[Tensor], inputs: Mapping[str, Array], expected: Mapping[str, Array]
) -> list[Case]:
    """What to infer, the case that is timed first.

    Without ``inputs`` one case is made up: cos(0), cos(1) ... for floats, zeros for the rest,
    free dimensions of 1. Otherwise arrays may hold several samples along their first axis: they are
    cut to the model's own batch, or to single samples where its batch is free.

    Raises:
        BadInputs: a name, shape or type that does not fit the model.
    """
    if not inputs:
        return [Case({each.name: _made_up(each) for each in declared}, {})]
    fitted = {each.name: _cast(_pick(inputs, each, len(declared)), each) for each in declared}
    batch = _batch(declared, fitted, expected)
    if batch is None:
        return [Case(fitted, dict(expected))]
    samples = next(iter(fitted.values())).shape[0]
    return [
        Case(
            {name: np.ascontiguousarray(each[at : at + batch]) for name, each in fitted.items()},
            {name: each[at : at + batch] for name, each in expected.items()},
        )
        for at in range(0, samples, batch)
    ]


def compare(outputs: Mapping[str, Array], expected: Mapping[str, Array]) -> list[Error]:
    """The error of every expected output.

    Raises:
        BadInputs: the model has no output of an expected name.
    """
    return [_error(name, _output(outputs, name, expected), each) for name, each in expected.items()]


def worst(errors: Sequence[Error]) -> list[Error]:
    """One error per output over all cases: the largest difference to the largest magnitude."""
    found: dict[str, Error] = {}
    for each in errors:
        other = found.get(each.name, each)
        broken = each.largest is None or other.largest is None
        found[each.name] = Error(
            each.name,
            None if broken else max(each.largest or 0.0, other.largest or 0.0),
            max(each.magnitude, other.magnitude),
        )
    return list(found.values())


def _error(name: str, found: Array, reference: Array) -> Error:
    if reference.dtype.kind in "OSU":
        same = found.shape == reference.shape and bool((found == reference).all())
        return Error(name, 0.0 if same else None, 1.0)
    wide = np.asarray(reference, np.float64)
    magnitude = float(np.max(np.abs(wide), initial=0.0))
    if found.shape != reference.shape:
        return Error(name, None, magnitude)
    difference = np.abs(np.asarray(found, np.float64) - wide)
    largest = float(np.max(difference, initial=0.0))
    return Error(name, largest if np.isfinite(largest) else None, magnitude)


def _output(outputs: Mapping[str, Array], name: str, expected: Mapping[str, Array]) -> Array:
    if name in outputs:
        return outputs[name]
    if len(outputs) == len(expected) == 1:
        return next(iter(outputs.values()))
    raise BadInputs(f"the model has no output {name!r}; it has {', '.join(sorted(outputs))}")


def _pick(inputs: Mapping[str, Array], tensor: Tensor, wanted: int) -> Array:
    if tensor.name in inputs:
        return inputs[tensor.name]
    if wanted == len(inputs) == 1:
        return next(iter(inputs.values()))
    raise BadInputs(
        f"the fixed inputs have no array {tensor.name!r}; they have {', '.join(sorted(inputs))}"
    )


def _cast(array: Array, tensor: Tensor) -> Array:
    """The array in the model's type, when it says the same there."""
    if tensor.dtype in (array.dtype.name, "string"):
        return array
    converted = array.astype(_dtype(tensor))
    both_real = array.dtype.kind == converted.dtype.kind == "f"
    if not both_real and not np.array_equal(converted, array):
        raise BadInputs(f"input {tensor.name!r} takes {tensor.dtype}, not {array.dtype}")
    return converted


def _batch(
    declared: Sequence[Tensor], inputs: Mapping[str, Array], expected: Mapping[str, Array]
) -> int | None:
    """How many samples one inference takes; None when the arrays are one inference as they are."""
    for tensor in declared:
        array = inputs[tensor.name]
        if array.ndim != len(tensor.shape) or not _fits(array.shape[1:], tensor.shape[1:]):
            raise BadInputs(
                f"input {tensor.name!r} takes shape {list(tensor.shape)}, not {list(array.shape)}"
            )
    lengths = {each.shape[:1] for each in (*inputs.values(), *expected.values())}
    firsts = {tensor.shape[:1] for tensor in declared}
    if len(lengths) == 1 and len(firsts) == 1 and (length := lengths.pop()) and length[0] > 0:
        batch = max(firsts.pop()[0], 1)
        if length[0] % batch == 0:
            return batch
    for tensor in declared:
        if not _fits(inputs[tensor.name].shape, tensor.shape):
            raise BadInputs(
                f"input {tensor.name!r} takes shape {list(tensor.shape)}, "
                f"not {list(inputs[tensor.name].shape)}; samples lie along the first axis, "
                "as many in every array and a multiple of the model's batch"
            )
    return None


def _fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    return all(want in (-1, has) for has, want in zip(shape, declared, strict=True))


def _made_up(tensor: Tensor) -> Array:
    shape = tuple(1 if each < 0 else each for each in tensor.shape)
    dtype = _dtype(tensor)
    if dtype.kind != "f":
        return np.zeros(shape, dtype)
    # NumPy's random generators would add 5 MB to the process that is measured.
    return np.cos(np.arange(math.prod(shape), dtype=np.float64)).reshape(shape).astype(dtype)


def _dtype(tensor: Tensor) -> np.dtype[np.generic]:
    try:
        return np.dtype(tensor.dtype)
    except (TypeError, ValueError) as error:
        raise BadInputs(
            f"input {tensor.name!r} is of type {tensor.dtype}, which needs fixed inputs of its own"
        ) from error
