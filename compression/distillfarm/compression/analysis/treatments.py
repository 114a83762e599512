"""What a technique does to the weights of one layer, in its simplest honest form.

A matrix here is float32 [outputs, inputs]: a row is what makes one output.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

INT4_BLOCK = 32
"""Weights of a row that share a scale, as in ONNX Runtime's MatMulNBits and LiteRT's blockwise."""
PRUNED_SHARE = 0.5
_TINY = 1e-12


def int8(matrix: Matrix) -> Matrix:
    """Rounded to 8 bits, one scale for each row, symmetric."""
    return _rounded(matrix, 127)


def int4(matrix: Matrix) -> Matrix:
    """Rounded to 4 bits, one scale for every 32 values of a row, symmetric."""
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % INT4_BLOCK)))
    blocks = _rounded(padded.reshape(-1, INT4_BLOCK), 7)
    return blocks.reshape(rows, -1)[:, :columns]


def prune(matrix: Matrix) -> Matrix:
    """The half of the rows with the smallest norms as zeros: structured pruning, untrained."""
    norms = np.linalg.norm(matrix, axis=1)
    gone = np.argsort(norms, kind="stable")[: int(len(matrix) * PRUNED_SHARE)]
    treated = matrix.copy()
    treated[gone] = 0
    return treated


def low_rank(matrix: Matrix) -> Matrix:
    """The best approximation of half as many parameters (Eckart and Young, 1936)."""
    rows, columns = matrix.shape
    rank = max(1, rows * columns // (2 * (rows + columns)))
    left, scales, right = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray((left[:, :rank] * scales[:rank]) @ right[:rank], np.float32)


WEIGHTS: dict[str, Callable[[Matrix], Matrix]] = {
    "int8": int8,
    "int4": int4,
    "prune": prune,
    "low_rank": low_rank,
}
"""By the technique's name; ``int8`` rounds the layer's inputs to 8 bits as well."""


def _rounded(matrix: Matrix, steps: int) -> Matrix:
    scale = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), _TINY) / steps
    return np.asarray(np.rint(matrix / scale) * scale, np.float32)
