import gzip
from pathlib import Path

import numpy as np
import pytest
from cli_lab import Run

from distillfarm.cli import demonstration
from distillfarm.cli.demo import make_subset
from distillfarm.cli.demo.dataset import write_dataset
from distillfarm.compression.datasets import load_for_passes, load_test
from distillfarm.domain.model import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("image", "float32", (-1, 1, 28, 28)),),
    (TensorSpec("logits", "float32", (-1, 10)),),
)


def test_the_vendored_images_make_a_data_set_that_studies_accept(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data.npz")
    train = load_for_passes(tmp_path / "data.npz", SIGNATURE, seed=0).train
    test = load_test(tmp_path / "data.npz", SIGNATURE, seed=0)
    assert (len(train), len(test)) == pytest.approx((13_200, 4_400), abs=10)
    assert (train.inputs["image"].min(), train.inputs["image"].max()) == (0.0, 1.0)
    assert np.bincount(np.asarray(test.labels, np.int64)).tolist() == pytest.approx(
        [440] * 10, abs=30
    )


def test_what_is_vendored_is_small_and_says_where_it_is_from() -> None:
    folder = Path(str(demonstration._FILES))
    assert (folder / "fashion_mnist.npz").stat().st_size <= 9_500_000
    source = (folder / "SOURCE.txt").read_text()
    assert "dataset-fashion-mnist" in source
    assert "MIT License" in source


def test_the_script_makes_the_same_file_from_the_same_source(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for part, count in (("train", 3), ("t10k", 2)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8).tobytes()
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"h" * 16 + images))
        labels = bytes(range(count))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"h" * 8 + labels))
    for name in ("a.npz", "b.npz"):
        make_subset.make_subset(tmp_path, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as made:
        assert made["train_image"].shape == (3, 28, 28)
        assert made["test_label"].tolist() == [0, 1]


def test_the_teacher_is_trained_anew_when_its_code_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in demonstration._DECIDE:
        (tmp_path / name).write_bytes(b"one")
    monkeypatch.setattr(demonstration, "_FILES", tmp_path)
    before = demonstration._fingerprint()
    assert demonstration._fingerprint() == before
    (tmp_path / "train.py").write_bytes(b"two")
    assert demonstration._fingerprint() != before


def test_without_pytorch_the_demo_says_what_to_install(
    run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstration, "find_spec", lambda _: None)
    result = run_cli("demo")
    assert result.exit_code == 1
    assert "pip install 'distillfarm[agent,controller,compression]'" in result.stderr


def test_the_demos_network_has_the_size_it_says() -> None:
    from distillfarm.cli.demo.teacher import build, example_inputs  # noqa: PLC0415  loads PyTorch

    module = build().eval()
    assert sum(each.numel() for each in module.parameters()) == 136_122
    assert module(**example_inputs()).shape == (1, 10)
