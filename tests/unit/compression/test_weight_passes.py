"""Weights set to zero, shared, or trained under rounding; and what is left after export."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from distillfarm.compression import registry, torch_models
from distillfarm.compression.datasets import load_test
from distillfarm.compression.inference import open_model
from distillfarm.compression.packing import packed_bytes
from distillfarm.compression.passes import batch_norms
from distillfarm.compression.passes.rounding import ByBlock, ByChannel
from distillfarm.compression.protocols import PassRefused, WorkingModel
from distillfarm.compression.zoo.config import student
from distillfarm.compression.zoo.modules import build
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec
from distillfarm.domain.recipe import parse_recipe

pytestmark = pytest.mark.slow

ADD_FACTORY = b"""
import torch


class Add(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x + self.offset


def build():
    return Add()
"""

Made = tuple[WorkingModel, list[str]]
Maker = Callable[[tiny_models.Problem, str, str], Made]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.trained("image", tmp_path_factory.mktemp("image") / "problem")


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.trained("sequence", tmp_path_factory.mktemp("sequence") / "problem")


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    """Ten regions of a plane of 16 dimensions: a narrow network that four bits are too few for."""
    inputs, borders = plane()
    labels = (inputs @ borders).argmax(axis=1)
    signature = Signature(
        (TensorSpec("x", "float32", (-1, 16)),), (TensorSpec("scores", "float32", (-1, 10)),)
    )
    torch.manual_seed(0)
    config = student(signature, 0.25)
    module = build(config)
    tiny_models.train(module, torch.from_numpy(inputs), torch.from_numpy(labels))
    model = torch_models.TorchModel(module, torch_models.ModuleSpec(signature, zoo=config))
    folder = tmp_path_factory.mktemp("fine") / "problem"
    return tiny_models.stored(folder, model, x=inputs, label=labels)


def plane() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points, float32 [4000, 16], and the borders of ten regions, float32 [16, 10]."""
    generator = np.random.default_rng(0)
    points = generator.normal(size=(4000, 16)).astype(np.float32)
    return points, generator.normal(size=(16, 10)).astype(np.float32)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Runs a recipe for a runtime; exports where a pass needs that, at the latest at the end."""

    folders = (tmp_path / str(number) for number in itertools.count())

    def run(problem: tiny_models.Problem, text: str, runtime: str) -> Made:
        target, model = parse_target(runtime), problem.model
        exporter = registry.exporter(target.runtime)
        notes: list[str] = []
        for spec in parse_recipe(text).passes:
            technique = registry.compression_pass(spec.name)
            if model.format not in technique.formats:
                path = exporter.export(model, target, problem.workspace(next(folders)))
                model = WorkingModel(path, exporter.format)
            workspace = problem.workspace(next(folders))
            model = technique.run(model, spec, workspace)
            notes += workspace.notes
        if model.format is not exporter.format:
            path = exporter.export(model, target, problem.workspace(next(folders)))
            model = WorkingModel(path, exporter.format)
        return model, notes

    return run


def right(model: WorkingModel, problem: tiny_models.Problem) -> NDArray[np.bool_]:
    """Which samples of the test split it answers rightly."""
    samples = load_test(problem.data, problem.signature, 0)
    answers = scores(model, problem).argmax(axis=1)
    found: NDArray[np.bool_] = answers == samples.labels
    return found


def accuracy(model: WorkingModel, problem: tiny_models.Problem) -> float:
    return float(right(model, problem).mean())


def scores(model: WorkingModel, problem: tiny_models.Problem) -> NDArray[np.float32]:
    """Its answers on the test split."""
    samples = load_test(problem.data, problem.signature, 0)
    return open_model(model, 1)(samples.inputs)["scores"].astype(np.float32)


def weights_of(model: WorkingModel) -> list[np.ndarray]:
    """The matrices of an ONNX file; the biases of its recurrent layers are rows."""
    tensors = [numpy_helper.to_array(each) for each in onnx.load(model.path).graph.initializer]
    floats = [each for each in tensors if each.dtype == np.float32]
    return [each for each in floats if each.ndim > 1 and each.shape[-2] > 1]


def unchanged(problem: tiny_models.Problem, make_folder: Path) -> WorkingModel:
    target = parse_target("onnxruntime")
    exporter = registry.exporter(target.runtime)
    path = exporter.export(problem.model, target, problem.workspace(make_folder))
    return WorkingModel(path, exporter.format)


def test_zeros_reach_their_ratio_and_the_exported_file_as_a_smaller_package(
    image: tiny_models.Problem, make: Maker, tmp_path: Path
) -> None:
    before = unchanged(image, tmp_path / "before")
    sparse, notes = make(image, "sparsify(ratio=0.9,epochs=12)", "onnxruntime")
    weights = weights_of(sparse)
    zeros = sum(int((each == 0).sum()) for each in weights) / sum(each.size for each in weights)
    assert zeros == pytest.approx(0.9, abs=0.01)
    assert packed_bytes(sparse.path) < 0.3 * packed_bytes(before.path)
    assert accuracy(sparse, image) > 0.9
    assert any("the file is no smaller" in each and "no faster" in each for each in notes)


def test_zeros_within_each_layer(sequence: tiny_models.Problem, make: Maker) -> None:
    sparse, notes = make(sequence, "sparsify(ratio=0.6,scope=layer,epochs=6)", "onnxruntime")
    shares = [float(np.mean(each == 0)) for each in weights_of(sparse)]
    assert shares
    assert all(share == pytest.approx(0.6, abs=0.02) for share in shares)
    assert "weight_ih_l0 60 %" in notes[0]
    assert accuracy(sparse, sequence) > 0.9


def test_clusters_survive_export_although_it_folds_batch_norms(
    image: tiny_models.Problem, make: Maker, tmp_path: Path
) -> None:
    before = unchanged(image, tmp_path / "before")
    clustered, notes = make(image, "cluster(bits=3,epochs=6)", "onnxruntime")
    assert all(len(np.unique(each)) <= 2**3 for each in weights_of(clustered))
    assert packed_bytes(clustered.path) < 0.3 * packed_bytes(before.path)
    assert accuracy(clustered, image) > 0.9
    assert "an entropy coder needs at least" in notes[0]


def test_clusters_keep_zeros(image: tiny_models.Problem, make: Maker) -> None:
    both, _ = make(image, "sparsify(ratio=0.8,epochs=6)+cluster(bits=4,epochs=4)", "onnxruntime")
    weights = weights_of(both)
    zeros = sum(int((each == 0).sum()) for each in weights) / sum(each.size for each in weights)
    assert zeros == pytest.approx(0.8, abs=0.02)
    assert all(len(np.unique(each)) <= 2**4 for each in weights)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_training_under_rounding_beats_rounding_afterwards(
    runtime: str, fine: tiny_models.Problem, make: Maker
) -> None:
    rounded, _ = make(fine, "int4(block=128)", runtime)
    recipe = f"qat(bits=4,activations=float,runtime={runtime},block=128)+int4(block=128)"
    trained, notes = make(fine, recipe, runtime)
    # So many that what training gains shows, whichever way a processor rounds in training.
    points = np.random.default_rng(1).normal(size=(60_000, 16)).astype(np.float32)
    regions = (points @ plane()[1]).argmax(axis=1)
    better, worse = (
        open_model(each, 1)({"x": points})["scores"].argmax(axis=1) == regions
        for each in (trained, rounded)
    )
    gained, lost = int((better & ~worse).sum()), int((worse & ~better).sum())
    # McNemar's test: 1.96 is the 95 % bound if both were right equally often.
    assert (gained - lost) / np.sqrt(gained + lost) > 1.96
    assert trained.path.stat().st_size == rounded.path.stat().st_size
    assert "4-bit rounding" in notes[0]


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_int4_finds_the_weights_on_its_own_grid(
    runtime: str, fine: tiny_models.Problem, make: Maker, tmp_path: Path
) -> None:
    recipe = f"qat(bits=4,activations=float,runtime={runtime},epochs=1)"
    source, _ = make(fine, recipe, runtime)
    wanted = scores(source, fine)
    technique = registry.compression_pass("int4")
    workspace = fine.workspace(tmp_path / "int4")
    quantised = technique.run(source, parse_recipe("int4").passes[0], workspace)
    given = scores(quantised, fine)
    # LiteRT rounds activations to INT8 on the fly; ONNX Runtime rounds nothing else.
    slack = 0.02 if runtime == "litert" else 1e-4
    assert np.abs(given - wanted).max() < slack * np.abs(wanted).max()


@pytest.mark.parametrize("grid", [ByChannel(8), ByChannel(4), ByBlock("litert", 32)])
def test_a_grid_keeps_what_lies_on_it(grid: nn.Module) -> None:
    weight = torch.randn(6, 70, generator=torch.Generator().manual_seed(0))
    once: Tensor = grid(weight)
    assert not torch.equal(once, weight)
    torch.testing.assert_close(grid(once), once)


def test_folding_keeps_the_answers_and_leaves_norms_that_multiply_by_one(
    image: tiny_models.Problem,
) -> None:
    model = torch_models.read(image.model.path)
    batch = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    wanted = model.module(batch)
    norms = [each for each in model.module.modules() if isinstance(each, nn.BatchNorm2d)]
    assert batch_norms.fold(model) == len(norms) > 0
    torch.testing.assert_close(model.module(batch), wanted, atol=1e-5, rtol=1e-4)
    for norm in norms:
        assert norm.running_var is not None
        assert torch.equal(
            norm.weight / (norm.running_var + norm.eps).sqrt(), torch.ones(len(norm.weight))
        )


class Forked(nn.Module):
    """A convolution that a batch norm and a sum read."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, images: Tensor) -> Tensor:
        features = self.convolution(images)
        both: Tensor = features + self.norm(features)
        return both.flatten(1)


def test_a_convolution_that_something_else_reads_is_not_folded() -> None:
    torch.manual_seed(0)
    module = Forked().eval()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    signature = Signature(
        (TensorSpec("x", "float32", (-1, 1, 5, 5)),), (TensorSpec("y", "float32", (-1, 18)),)
    )
    model = torch_models.TorchModel(module, torch_models.ModuleSpec(signature))
    assert batch_norms.fold(model) == 0
    assert all(torch.equal(before[name], each) for name, each in module.state_dict().items())


def test_a_recurrent_module_has_little_to_round_and_says_what(
    sequence: tiny_models.Problem, make: Maker
) -> None:
    _, notes = make(sequence, "qat(epochs=1)", "onnxruntime")
    assert "rounding of 1 weights: head.weight" in notes[0]


def test_a_module_without_layers_is_refused(tmp_path: Path) -> None:
    module = torch_models.run_factory(ADD_FACTORY, "build")
    signature = Signature(
        (TensorSpec("x", "float32", (-1, 4)),), (TensorSpec("scores", "float32", (-1, 4)),)
    )
    spec = torch_models.ModuleSpec(signature, factory_function="build")
    model = torch_models.TorchModel(module, spec, ADD_FACTORY)
    inputs = np.zeros((40, 4), np.float32)
    problem = tiny_models.stored(tmp_path / "p", model, x=inputs, label=np.arange(40) % 4)
    for text in ("sparsify", "cluster", "qat"):
        technique = registry.compression_pass(text)
        with pytest.raises(PassRefused, match="the module has no"):
            technique.run(
                WorkingModel(problem.model.path, ModelFormat.TORCH_MODULE),
                parse_recipe(text).passes[0],
                problem.workspace(tmp_path / text),
            )
