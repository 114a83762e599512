"""Makes ``fashion_mnist.npz`` from the files of Debian's package ``dataset-fashion-mnist``.

Run it again with ``apt-get install dataset-fashion-mnist`` and
``python make_subset.py /usr/share/datasets/fashion-mnist``; it gives the same arrays.
"""

import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

TRAIN_SAMPLES = 12_000
"""The first of the 60,000 training images; with all 10,000 test images 8.3 MB remain."""
_IMAGES_HEADER_BYTES = 16
_LABELS_HEADER_BYTES = 8
_FIXED_TIME = (2017, 8, 25, 0, 0, 0)


def make_subset(source: Path, destination: Path) -> None:
    """Write ``train_image``, ``train_label``, ``test_image`` and ``test_label``, all uint8.

    Images are [n, 28, 28], labels [n] in 0..9. The members are LZMA-packed: 14 % smaller than
    NumPy's own deflate, and ``numpy.load`` reads them all the same.
    """
    arrays = {
        "train_image": _images(source / "train-images-idx3-ubyte.gz")[:TRAIN_SAMPLES],
        "train_label": _labels(source / "train-labels-idx1-ubyte.gz")[:TRAIN_SAMPLES],
        "test_image": _images(source / "t10k-images-idx3-ubyte.gz"),
        "test_label": _labels(source / "t10k-labels-idx1-ubyte.gz"),
    }
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", _FIXED_TIME)
            member.compress_type = zipfile.ZIP_LZMA
            archive.writestr(member, buffer.getvalue())


def _images(path: Path) -> npt.NDArray[np.uint8]:
    return _read(path, _IMAGES_HEADER_BYTES).reshape(-1, 28, 28)


def _labels(path: Path) -> npt.NDArray[np.uint8]:
    return _read(path, _LABELS_HEADER_BYTES)


def _read(path: Path, header_bytes: int) -> npt.NDArray[np.uint8]:
    with gzip.open(path) as packed:
        return np.frombuffer(packed.read(), np.uint8)[header_bytes:]


if __name__ == "__main__":
    make_subset(Path(sys.argv[1]), Path(__file__).with_name("fashion_mnist.npz"))
