"""The user's ``.npz``: read safely, checked against the model, split once and for all."""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import Signature, TensorSpec

Array = NDArray[np.generic]

LABEL = "label"
MAX_BYTES = 8 * 1024**3
MIN_SAMPLES = 20
# What is left after these is for training. Calibration needs little: ranges, not averages.
_TEST, _SELECTION, _CALIBRATION = 0.2, 0.15, 0.05


@dataclass(frozen=True)
class Samples:
    """Inputs by name, each [n, ...] in the model's dtype, and what the answers should be.

    ``labels`` are int64 [n] class indices, or whatever else the user's evaluator takes.
    """

    inputs: Mapping[str, Array]
    labels: Array

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.labels)

    def take(self, rows: NDArray[np.intp] | slice) -> "Samples":
        """The samples of these rows."""
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        return Samples(inputs, self.labels[rows])


@dataclass(frozen=True)
class PassData:
    """What a pass may look at: to train on, to select by, to calibrate with. Never the test."""

    train: Samples
    selection: Samples
    calibration: Samples


def load_for_passes(path: Path, signature: Signature, seed: int) -> PassData:
    """Everything but the test split.

    Raises:
        InvalidRequest: the file is unreadable or does not fit the model; one clear line.
    """
    samples = _load(path, signature)
    rows = _split(samples.labels, seed)
    return PassData(*(samples.take(each) for each in rows[:3]))


def load_test(path: Path, signature: Signature, seed: int) -> Samples:
    """The test split, for verdicts and reports alone.

    Raises:
        InvalidRequest: as for ``load_for_passes``.
    """
    samples = _load(path, signature)
    return samples.take(_split(samples.labels, seed)[3])


def is_classes(labels: Array) -> bool:
    """Whether labels are class indices: int64 [n]."""
    return labels.ndim == 1 and labels.dtype == np.int64


def _load(path: Path, signature: Signature) -> Samples:
    sizes = _array_bytes(path)
    names = [each.name for each in signature.inputs]
    missing = [name for name in (*names, LABEL) if name not in sizes]
    if missing:
        raise InvalidRequest(
            f"data: no array named {', '.join(missing)}; it has {', '.join(sizes) or 'none'} and"
            f" needs the model's inputs ({', '.join(names)}) and {LABEL}"
        )
    wanted = sum(sizes[name] for name in (*names, LABEL))
    if wanted > MAX_BYTES:
        raise InvalidRequest(
            f"data: {wanted / 1e9:.1f} GB of arrays, at most {MAX_BYTES / 1e9:.1f} GB are read;"
            " give fewer samples"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in (*names, LABEL)}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidRequest(f"data: cannot be read: {error}") from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidRequest(f"data: the arrays differ in length: {shown}")
    if len(arrays[LABEL]) < MIN_SAMPLES:
        raise InvalidRequest(
            f"data: {len(arrays[LABEL])} samples; at least {MIN_SAMPLES} are needed to train,"
            " select, calibrate and test"
        )
    inputs = {each.name: _input(each, arrays[each.name]) for each in signature.inputs}
    return Samples(inputs, _labels(arrays[LABEL]))


def _array_bytes(path: Path) -> dict[str, int]:
    """Bytes of each array once inflated, from the headers alone."""
    sizes: dict[str, int] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                with archive.open(entry) as member:
                    shape, dtype = _header(member)
                if dtype.hasobject:
                    raise InvalidRequest(
                        f"data: array {name} holds Python objects, which are never read; save"
                        " numbers"
                    )
                if not shape:
                    raise InvalidRequest(f"data: array {name} is a single number, not samples")
                sizes[name] = math.prod(shape) * dtype.itemsize
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise InvalidRequest(f"data: not a readable .npz: {error}") from error
    return sizes


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype


def _input(spec: TensorSpec, array: Array) -> Array:
    wanted = spec.shape[1:]
    given = array.shape[1:]
    fits = len(wanted) == len(given) and all(
        size in (-1, has) for size, has in zip(wanted, given, strict=True)
    )
    if not fits:
        raise InvalidRequest(
            f"data: array {spec.name} has samples of shape {list(given)}, the model takes"
            f" {list(wanted)}"
        )
    dtype = np.dtype(spec.dtype)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InvalidRequest(
            f"data: array {spec.name} is {array.dtype}, the model takes {spec.dtype}; convert it"
        )
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise InvalidRequest(f"data: array {spec.name} has values that {dtype} cannot hold")
    converted = array.astype(dtype, copy=False)
    if dtype.kind == "f" and not np.isfinite(converted).all():
        raise InvalidRequest(f"data: array {spec.name} has values that are not finite")
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


def _split(labels: Array, seed: int) -> tuple[NDArray[np.intp], ...]:
    """Rows for training, selection, calibration and test, each in ascending order.

    Class indices are split class by class. Shares that are no whole samples are rounded up or
    down at random, so that rare classes are not pushed into one split.
    """
    generator = np.random.default_rng(seed)
    groups = [np.arange(len(labels))]
    if is_classes(labels):
        groups = [np.flatnonzero(labels == each) for each in np.unique(labels)]
    parts: list[list[NDArray[np.intp]]] = [[], [], [], []]
    shares = np.cumsum([_TEST, _SELECTION, _CALIBRATION])
    for group in groups:
        shuffled = generator.permutation(group)
        edges = np.floor(shares * len(group) + generator.random()).astype(int)
        pieces = np.split(shuffled, np.minimum(edges, len(group)))
        for part, piece in zip(parts, pieces, strict=True):
            part.append(piece)
    test, selection, calibration, train = (np.sort(np.concatenate(part)) for part in parts)
    return train, selection, calibration, test
