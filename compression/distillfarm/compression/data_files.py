"""What the arrays of the user's ``.npz`` mean, and whether they fit the model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distillfarm.compression.npz import Array, Header, read_arrays, read_headers
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import Signature, TensorSpec
from distillfarm.sandbox.text import one_line

LABEL, GROUP, HELD_OUT, UNLABELLED = "label", "group", "held_out", "unlabelled/"
MIN_SAMPLES = 20
MAX_GROUP_CHARACTERS = 64
_SHOWN = 5


@dataclass(frozen=True)
class Content:
    """The samples of a file; arrays that it does not hold are None.

    ``inputs`` are [n, ...] by name in the model's types, ``groups`` [n] names, ``held_out`` [n].
    """

    inputs: Mapping[str, Array]
    labels: Array | None
    groups: NDArray[np.str_] | None
    held_out: NDArray[np.bool_] | None


def read(path: Path, signature: Signature) -> Content:
    """All samples but those under ``unlabelled/``, which are checked by their headers alone.

    Raises:
        InvalidRequest: the file is unreadable or does not fit the model; one clear line.
    """
    headers = _checked(path, signature)
    names = [each.name for each in signature.inputs]
    # An input that happens to be called like one of ours is an input.
    ours = [each for each in (LABEL, GROUP, HELD_OUT) if each in headers and each not in names]
    arrays = read_arrays(path, headers, [*names, *ours])
    inputs = {each.name: _values(each, each.name, arrays[each.name]) for each in signature.inputs}
    return Content(
        inputs,
        _labels(arrays[LABEL]) if LABEL in ours else None,
        _groups(arrays[GROUP]) if GROUP in ours else None,
        _held_out(arrays[HELD_OUT]) if HELD_OUT in ours else None,
    )


def is_ours(name: str) -> bool:
    """Whether an array of that name says something of the samples, and is no input."""
    return name in {LABEL, GROUP, HELD_OUT} or name.startswith(UNLABELLED)


def read_unlabelled(path: Path, signature: Signature) -> Mapping[str, Array] | None:
    """The inputs under ``unlabelled/``, if there are any.

    Raises:
        InvalidRequest: as for ``read``.
    """
    headers = _checked(path, signature)
    if not any(name.startswith(UNLABELLED) for name in headers):
        return None
    names = {each.name: f"{UNLABELLED}{each.name}" for each in signature.inputs}
    arrays = read_arrays(path, headers, names.values())
    return {
        each.name: _values(each, names[each.name], arrays[names[each.name]])
        for each in signature.inputs
    }


def _checked(path: Path, signature: Signature) -> dict[str, Header]:
    headers = read_headers(path)
    names = [each.name for each in signature.inputs]
    missing = [name for name in names if name not in headers]
    if missing:
        raise InvalidRequest(
            f"data: no array named {_listed(missing)}; it has {_listed(headers) or 'none'} and"
            f" needs the model's inputs ({', '.join(names)})"
        )
    ours = [each for each in (LABEL, GROUP, HELD_OUT) if each in headers]
    count = _same_length(headers, dict.fromkeys([*names, *ours]))
    if count < MIN_SAMPLES:
        raise InvalidRequest(
            f"data: {count} samples; at least {MIN_SAMPLES} are needed to train, select, calibrate"
            " and test"
        )
    for each in signature.inputs:
        _fits(each, each.name, headers[each.name])
    _check_unlabelled(headers, signature)
    return headers


def _check_unlabelled(headers: Mapping[str, Header], signature: Signature) -> None:
    found = [name for name in headers if name.startswith(UNLABELLED)]
    wanted = [f"{UNLABELLED}{each.name}" for each in signature.inputs]
    if not found:
        return
    if set(found) != set(wanted):
        raise InvalidRequest(
            f"data: unlabelled samples need exactly the arrays {_listed(wanted)}, one for each"
            f" input; it has {_listed(found)}"
        )
    if not _same_length(headers, wanted):
        raise InvalidRequest(f"data: array {wanted[0]} holds no samples; leave it out")
    for each, name in zip(signature.inputs, wanted, strict=True):
        _fits(each, name, headers[name])


def _same_length(headers: Mapping[str, Header], names: Iterable[str]) -> int:
    lengths = {name: headers[name].shape[0] for name in names}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidRequest(f"data: the arrays differ in length: {shown}")
    return next(iter(lengths.values()))


def _fits(spec: TensorSpec, name: str, header: Header) -> None:
    wanted, given = spec.shape[1:], header.shape[1:]
    fits = len(wanted) == len(given) and all(
        size in (-1, has) for size, has in zip(wanted, given, strict=True)
    )
    if not fits:
        raise InvalidRequest(
            f"data: array {name} has samples of shape {list(given)}, the model takes {list(wanted)}"
        )
    if not np.can_cast(header.dtype, np.dtype(spec.dtype), "same_kind"):
        raise InvalidRequest(
            f"data: array {name} is {header.dtype}, the model takes {spec.dtype}; convert it"
        )


def _values(spec: TensorSpec, name: str, array: Array) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise InvalidRequest(f"data: array {name} has values that {dtype} cannot hold")
    converted = array.astype(dtype, copy=False)
    if dtype.kind == "f" and not np.isfinite(converted).all():
        raise InvalidRequest(f"data: array {name} has values that are not finite")
    return converted


def _labels(array: Array) -> Array:
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array  # noqa: PLR2004
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    if labels.dtype.kind != "f":
        raise InvalidRequest(f"data: {LABEL} is {labels.dtype}; give class indices or floats")
    if not np.isfinite(labels).all():
        raise InvalidRequest(f"data: {LABEL} has values that are not finite")
    return labels


def _groups(array: Array) -> NDArray[np.str_]:
    if array.ndim != 1 or array.dtype.kind not in "iubU":
        raise InvalidRequest(
            f"data: {GROUP} is {array.dtype} {list(array.shape)}; give one integer or short string"
            " a sample"
        )
    longest = array.dtype.itemsize // 4 if array.dtype.kind == "U" else 0
    if longest > MAX_GROUP_CHARACTERS:
        raise InvalidRequest(
            f"data: {GROUP} has names of up to {longest} characters, at most"
            f" {MAX_GROUP_CHARACTERS}; give shorter ones"
        )
    groups: NDArray[np.str_] = array.astype(np.str_)
    for name in np.unique(groups):
        if str(name) != one_line(str(name)) or not name:
            raise InvalidRequest(
                f"data: {GROUP} has a name that cannot be shown, {str(name)!a}; give one line"
                " of letters and digits"
            )
    return groups


def _held_out(array: Array) -> NDArray[np.bool_]:
    if array.ndim != 1 or array.dtype.kind != "b":
        raise InvalidRequest(
            f"data: {HELD_OUT} is {array.dtype} {list(array.shape)}; give one boolean a sample"
        )
    held_out: NDArray[np.bool_] = array.astype(np.bool_)
    count = int(held_out.sum())
    if count < MIN_SAMPLES:
        raise InvalidRequest(
            f"data: {HELD_OUT} is true for {count} samples; at least {MIN_SAMPLES} are needed to"
            " select and test by"
        )
    return held_out


def _listed(names: Iterable[str]) -> str:
    names = [one_line(each) for each in names]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
