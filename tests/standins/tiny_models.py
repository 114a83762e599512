"""Real models small enough to train, compress and export within a second or two each."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import user_modules
from torch.nn import functional

from distillfarm.compression import registry, torch_models
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.compression.zoo.config import student
from distillfarm.compression.zoo.modules import build
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec
from distillfarm.domain.recipe import parse_recipe

CLASSES = 3
SAMPLES = 480
SHAPES = {
    "image": ("float32", (1, 12, 12)),
    "sequence": ("float32", (6, 4)),
    "tokens": ("int64", (10,)),
    "vector": ("float32", (20,)),
}
_VOCABULARY = 40

# A linear recurrent cell of two units: one counts hundreds, the other holds the answer within
# 0.5. An INT8 step of their common range is more than that: the trap that recurrent nets fall in.
TRAP_FACTORY = b"""
import torch


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.take = torch.nn.Linear(2, 2, bias=False)
        self.keep = torch.nn.Linear(2, 2, bias=False)
        self.answer = torch.nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.take.weight.copy_(torch.tensor([[100.0, 0.0], [0.0, 0.05]]))
            self.keep.weight.copy_(torch.eye(2))
            self.answer.weight.copy_(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))

    def forward(self, sequence):
        state = torch.zeros_like(sequence[:, 0])
        for step in range(6):
            state = self.keep(state) + self.take(sequence[:, step])
        return self.answer(state)


def build():
    return Counter()
"""


@dataclass(frozen=True)
class Problem:
    """A trained model with its data."""

    model: WorkingModel
    data: Path
    signature: Signature

    def workspace(
        self,
        folder: Path,
        report: Callable[[float, str], None] = lambda _done, _text: None,
        seed: int = 0,
    ) -> Workspace:
        """A workspace in a new folder ``folder``, with the model as the teacher."""
        folder.mkdir()
        cache = folder.parent / "no-cache"
        return Workspace(folder, cache, self.data, 0, self.model, seed, 1, report)


def trained(kind: str, folder: Path) -> Problem:
    """A zoo model for ``kind``, a key of ``SHAPES``, trained until it is right nearly always."""
    signature = _signature(kind)
    torch.manual_seed(0)
    config = dataclasses.replace(student(signature, 1.0), vocabulary=_VOCABULARY)
    spec = torch_models.ModuleSpec(signature, zoo=config)
    return _learnt(kind, torch_models.TorchModel(build(config), spec), folder)


def users(function: str, kind: str, folder: Path) -> Problem:
    """The model that ``function`` of ``user_modules`` builds, trained on data of ``kind``."""
    source = Path(user_modules.__file__).read_bytes()
    torch.manual_seed(0)
    module = torch_models.run_factory(source, function)
    spec = torch_models.ModuleSpec(_signature(kind), factory_function=function)
    return _learnt(kind, torch_models.TorchModel(module, spec, source), folder)


def passed(
    problem: Problem, text: str, folder: Path
) -> tuple[WorkingModel, torch.nn.Module, Workspace]:
    """The problem's model after one pass: its file, the module in it, what the pass has told."""
    (spec,) = parse_recipe(text).passes
    workspace = problem.workspace(folder)
    made = registry.compression_pass(spec.name).run(problem.model, spec, workspace)
    return made, torch_models.read(made.path).module, workspace


def accuracy(problem: Problem, model: WorkingModel) -> float:
    """The share of all samples that ``model`` gets right."""
    with np.load(problem.data) as data:
        answers = open_model(model, 1)({"x": data["x"]})["scores"]
        return float((answers.argmax(1) == data["label"]).mean())


def recurrent_trap(folder: Path) -> Problem:
    """A recurrent model from a user's factory that no per-tensor INT8 survives."""
    signature = Signature(
        (TensorSpec("sequence", "float32", (-1, 6, 2)),),
        (TensorSpec("scores", "float32", (-1, 2)),),
    )
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, SAMPLES)
    sequences = generator.uniform(0, 1, (SAMPLES, 6, 2)).astype(np.float32)
    sequences[:, :, 1] *= np.where(labels, 1, -1)[:, None]
    module = torch_models.run_factory(TRAP_FACTORY, "build").eval()
    spec = torch_models.ModuleSpec(signature, factory_function="build")
    model = torch_models.TorchModel(module, spec, TRAP_FACTORY)
    return stored(folder, model, sequence=sequences, label=labels)


def disturbed(problem: Problem, path: Path) -> WorkingModel:
    """The problem's model with one answer moved, as a wrong conversion would."""
    model = torch_models.read(problem.model.path)
    with torch.no_grad():
        model.module.get_parameter("head.bias")[0] += 1.0
    torch_models.write(model, path)
    return WorkingModel(path, ModelFormat.TORCH_MODULE)


def stored(folder: Path, model: torch_models.TorchModel, **arrays: np.ndarray) -> Problem:
    """A model and its data as files in a new folder ``folder``."""
    folder.mkdir(parents=True)
    np.savez(folder / "data.npz", allow_pickle=False, **arrays)
    torch_models.write(model, folder / "model.zip")
    source = WorkingModel(folder / "model.zip", ModelFormat.TORCH_MODULE)
    return Problem(source, folder / "data.npz", model.spec.signature)


def _signature(kind: str) -> Signature:
    dtype, shape = SHAPES[kind]
    return Signature(
        (TensorSpec("x", dtype, (-1, *shape)),),
        (TensorSpec("scores", "float32", (-1, CLASSES)),),
    )


def _learnt(kind: str, model: torch_models.TorchModel, folder: Path) -> Problem:
    inputs, labels = _samples(kind)
    torch.set_num_threads(1)
    train(model.module, torch.from_numpy(inputs), torch.from_numpy(labels))
    return stored(folder, model, x=inputs, label=labels)


def _samples(kind: str) -> tuple[np.ndarray, np.ndarray]:
    dtype, shape = SHAPES[kind]
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, SAMPLES)
    if dtype == "int64":
        tokens = generator.integers(CLASSES, _VOCABULARY, (SAMPLES, *shape))
        tokens[:, 0] = tokens[:, 1] = labels
        return tokens, labels
    centres = generator.normal(size=(CLASSES, *shape))
    noisy = 1.5 * centres[labels] + generator.normal(size=(SAMPLES, *shape))
    return noisy.astype(np.float32), labels


def train(module: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """Train a classifier in place, for a second or two."""
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    module.train()
    for _ in range(15):
        for rows in torch.randperm(len(inputs)).split(80):  # type: ignore[no-untyped-call]
            loss = functional.cross_entropy(module(inputs[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    module.eval()
