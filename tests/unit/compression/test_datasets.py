"""The user's data are read safely, refused with one clear line, and split once and for all."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from distillfarm.compression import datasets
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "float32", (-1, 4)),), (TensorSpec("y", "float32", (-1, 3)),)
)


def write(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, allow_pickle=True, **arrays)
    return path


def rows(samples: datasets.Samples) -> set[float]:
    return {float(each) for each in samples.inputs["x"][:, 0]}


def numbered(count: int, classes: int = 3) -> dict[str, np.ndarray]:
    inputs = np.repeat(np.arange(count, dtype=np.float32)[:, None], 4, axis=1)
    return {"x": inputs, "label": np.arange(count) % classes}


def test_splits_cover_everything_once_and_do_not_overlap(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz", **numbered(300))
    parts = datasets.load_for_passes(path, SIGNATURE, 7)
    test = datasets.load_test(path, SIGNATURE, 7)
    found = [rows(each) for each in (parts.train, parts.selection, parts.calibration, test)]
    assert set.union(*found) == {float(each) for each in range(300)}
    assert sum(map(len, found)) == 300
    assert [len(each) for each in found] == pytest.approx([180, 45, 15, 60], abs=4)


def test_the_split_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz", **numbered(300))
    first, again, other = (datasets.load_test(path, SIGNATURE, seed) for seed in (7, 7, 8))
    assert rows(first) == rows(again)
    assert rows(first) != rows(other)


def test_every_split_has_the_classes_in_proportion(tmp_path: Path) -> None:
    arrays = numbered(1000)
    arrays["label"] = np.where(np.arange(1000) < 100, 0, 1)
    path = write(tmp_path / "d.npz", **arrays)
    parts = datasets.load_for_passes(path, SIGNATURE, 0)
    for each in (parts.train, parts.selection, parts.calibration):
        assert (each.labels == 0).mean() == pytest.approx(0.1, abs=0.015)


def test_rare_classes_are_not_all_pushed_into_one_split(tmp_path: Path) -> None:
    arrays = numbered(600)
    arrays["label"] = np.arange(600) // 2  # two samples of each of 300 classes
    path = write(tmp_path / "d.npz", **arrays)
    parts = datasets.load_for_passes(path, SIGNATURE, 0)
    assert 60 < len(parts.selection) < 120
    assert 320 < len(parts.train) < 400


def test_numbers_are_converted_to_the_models_type(tmp_path: Path) -> None:
    arrays = numbered(40)
    path = write(tmp_path / "d.npz", x=arrays["x"].astype(np.uint8), label=arrays["label"][:, None])
    samples = datasets.load_test(path, SIGNATURE, 0)
    assert samples.inputs["x"].dtype == np.float32
    assert samples.labels.dtype == np.int64
    assert samples.labels.ndim == 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"x": None}, "no array named x"),
        ({"x": np.zeros((40, 5), np.float32)}, r"shape \[5\], the model takes \[4\]"),
        ({"x": np.zeros((39, 4), np.float32)}, "differ in length"),
        ({"x": np.full((40, 4), np.nan, np.float32)}, "not finite"),
        ({"x": np.zeros((40, 4), complex)}, "convert it"),
        ({"x": np.array(1.0)}, "single number"),
        ({"label": np.array(["a"] * 40)}, "class indices or floats"),
        ({"label": np.full(40, np.inf)}, "not finite"),
        ({"group": np.zeros(40)}, "group is float64"),
        ({"group": np.zeros(39, int)}, "differ in length"),
        ({"group": np.array(["a" * 65] * 40)}, "65 characters, at most 64"),
        ({"group": np.array(["red\x1b[31m"] * 40)}, "cannot be shown"),
        ({"group": np.array([object()] * 40)}, "never read"),
        ({"held_out": np.ones(40, int)}, "one boolean a sample"),
        ({"held_out": np.arange(40) < 19}, "true for 19 samples; at least 20"),
        ({"unlabelled/z": np.zeros((9, 4))}, "exactly the arrays unlabelled/x"),
        ({"unlabelled/x": np.zeros((9, 5))}, r"unlabelled/x has samples of shape \[5\]"),
        ({"unlabelled/x": np.zeros((0, 4))}, "holds no samples"),
    ],
)
def test_unfit_arrays_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray | None], word: str
) -> None:
    arrays = {**numbered(40), **changes}
    path = write(tmp_path / "d.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(InvalidRequest, match=word):
        datasets.load_test(path, SIGNATURE, 0)


def test_selection_and_test_are_drawn_from_what_was_held_out(tmp_path: Path) -> None:
    held_out = np.arange(300) % 3 == 0
    path = write(tmp_path / "d.npz", **numbered(300, classes=2), held_out=held_out)
    parts = datasets.load_for_passes(path, SIGNATURE, 1)
    test = datasets.load_test(path, SIGNATURE, 1)
    for each in (parts.selection, test):
        assert each.held_out
        assert all(number % 3 == 0 for number in rows(each))
    # A hundred are fewer than the 35 % of 300 that would be taken otherwise: all of them are.
    assert len(parts.selection) + len(test) == pytest.approx(100, abs=1)
    assert [len(parts.train), len(parts.calibration)] == pytest.approx([185, 15], abs=4)
    found = [rows(each) for each in (parts.train, parts.selection, parts.calibration, test)]
    assert sum(map(len, found)) == len(set.union(*found)) == 300


def test_what_was_held_out_beyond_need_is_trained_on(tmp_path: Path) -> None:
    held_out = np.arange(300) < 270
    path = write(tmp_path / "d.npz", **numbered(300), held_out=held_out)
    parts = datasets.load_for_passes(path, SIGNATURE, 1)
    sizes = [len(each) for each in (parts.train, parts.selection, parts.calibration)]
    assert sizes == pytest.approx([180, 45, 15], abs=4)


def test_groups_stay_with_their_samples(tmp_path: Path) -> None:
    groups = np.array([f"site {number // 100}" for number in range(300)])
    path = write(tmp_path / "d.npz", **numbered(300), group=groups)
    test = datasets.load_test(path, SIGNATURE, 0)
    assert test.groups is not None
    for number, name in zip(test.inputs["x"][:, 0], test.groups, strict=True):
        assert name == f"site {int(number) // 100}"


def test_samples_without_labels_are_for_learning_alone(tmp_path: Path) -> None:
    more = np.full((70, 4), -1, np.float32)
    path = write(tmp_path / "d.npz", **numbered(300), **{"unlabelled/x": more})
    train = datasets.load_for_passes(path, SIGNATURE, 0).train
    transfer = datasets.with_unlabelled(train, path, SIGNATURE)
    assert len(transfer) == len(train) + 70
    assert (transfer.labels[: len(train)] == train.labels).all()
    assert (transfer.labels[len(train) :] == datasets.NO_LABEL).all()
    assert (transfer.inputs["x"][len(train) :] == -1).all()
    assert -1.0 not in rows(train)


def test_data_without_labels_are_split_too(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz", x=numbered(300)["x"])
    test = datasets.load_test(path, SIGNATURE, 0)
    assert len(test) == pytest.approx(60, abs=1)
    assert not test.labelled


def test_too_few_samples_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz", **numbered(19))
    with pytest.raises(InvalidRequest, match="at least 20"):
        datasets.load_test(path, SIGNATURE, 0)


def test_token_ids_that_the_models_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("x", "int32", (-1, 4)),), SIGNATURE.outputs)
    arrays = {"x": np.full((40, 4), 2**40), "label": np.zeros(40, int)}
    path = write(tmp_path / "d.npz", **arrays)
    with pytest.raises(InvalidRequest, match="cannot hold"):
        datasets.load_test(path, signature, 0)


class Bomb:
    """Would write a file if it were ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    arrays = numbered(40)
    arrays["x"] = np.array([Bomb(tmp_path / "executed")] * 40, dtype=object)
    path = write(tmp_path / "d.npz", **arrays)
    with pytest.raises(InvalidRequest, match="never read"):
        datasets.load_test(path, SIGNATURE, 0)
    assert not (tmp_path / "executed").exists()


def test_an_array_that_would_inflate_beyond_the_limit_is_refused_before_it_is(
    tmp_path: Path,
) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**34, 4)}
    )
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(1000))
        archive.writestr("label.npy", header.getvalue() + bytes(1000))
    with pytest.raises(InvalidRequest, match="GB of arrays"):
        datasets.load_test(tmp_path / "d.npz", SIGNATURE, 0)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04" + bytes(40)])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"not a readable \.npz"):
        datasets.load_test(tmp_path / "d.npz", SIGNATURE, 0)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_truncated_npz_is_refused(tmp_path: Path, cut: float) -> None:
    whole = write(tmp_path / "d.npz", **numbered(400)).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(InvalidRequest):
        datasets.load_test(tmp_path / "cut.npz", SIGNATURE, 0)


def test_a_flipped_byte_in_an_array_is_refused(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "d.npz", **numbered(400)).read_bytes())
    content[2000] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(content)
    with pytest.raises(InvalidRequest):
        datasets.load_test(tmp_path / "flipped.npz", SIGNATURE, 0)
