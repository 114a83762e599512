"""A module survives being a file, changed or not, without any code but its owner's."""

import zipfile
from pathlib import Path

import pytest
import tiny_models
import torch

from distillfarm.compression import torch_models
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import Signature, TensorSpec


def answers(model: torch_models.TorchModel) -> torch.Tensor:
    torch.manual_seed(3)
    shape = [5, *model.spec.signature.inputs[0].shape[1:]]
    with torch.inference_mode():
        answers: torch.Tensor = model.module(torch.randn(shape))
        return answers


def test_a_zoo_model_answers_the_same_after_a_round_trip(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    model = torch_models.read(image_problem.model.path)
    torch_models.write(model, tmp_path / "again.zip")
    again = torch_models.read(tmp_path / "again.zip")
    assert torch.equal(answers(model), answers(again))
    assert (tmp_path / "again.zip").read_bytes() == image_problem.model.path.read_bytes()


def test_a_factorys_model_carries_its_factory(trap: tiny_models.Problem, tmp_path: Path) -> None:
    model = torch_models.read(trap.model.path)
    torch_models.write(model, tmp_path / "again.zip")
    assert torch_models.read(tmp_path / "again.zip").factory_source == tiny_models.TRAP_FACTORY


def test_tied_weights_can_be_written(tmp_path: Path) -> None:
    source = (
        b"import torch\n"
        b"class Tied(torch.nn.Module):\n"
        b"    def __init__(self):\n"
        b"        super().__init__()\n"
        b"        self.a = torch.nn.Linear(4, 4)\n"
        b"        self.b = torch.nn.Linear(4, 4)\n"
        b"        self.b.weight = self.a.weight\n"
        b"    def forward(self, x):\n"
        b"        return self.b(self.a(x))\n"
    )
    signature = Signature(
        (TensorSpec("x", "float32", (-1, 4)),), (TensorSpec("y", "float32", (-1, 4)),)
    )
    module = torch_models.run_factory(source, "Tied").eval()
    spec = torch_models.ModuleSpec(signature, factory_function="Tied")
    model = torch_models.TorchModel(module, spec, source)
    torch_models.write(model, tmp_path / "tied.zip")
    assert torch.equal(answers(model), answers(torch_models.read(tmp_path / "tied.zip")))


def rewritten(source: Path, target: Path, **members: bytes) -> Path:
    """A copy with members replaced, named without their suffix; packed if ``packed`` is given."""
    packing = zipfile.ZIP_DEFLATED if members.pop("packed", b"") else zipfile.ZIP_STORED
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.partition(".")[0], old.read(name)))
    return target


@pytest.mark.parametrize(
    "members",
    [
        {"packed": b"yes"},
        {"module": b"{}"},
        {"module": b"not json"},
        {"weights": b""},
        {"weights": b"\xff" * 64},
    ],
)
def test_a_damaged_file_is_rejected(
    image_problem: tiny_models.Problem, tmp_path: Path, members: dict[str, bytes]
) -> None:
    path = rewritten(image_problem.model.path, tmp_path / "bad.zip", **members)
    with pytest.raises(ModelRejected):
        torch_models.read(path)


def test_weights_of_another_module_are_rejected(
    image_problem: tiny_models.Problem, vector_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    with zipfile.ZipFile(vector_problem.model.path) as other:
        weights = other.read("weights.safetensors")
    path = rewritten(image_problem.model.path, tmp_path / "bad.zip", weights=weights)
    with pytest.raises(ModelRejected, match="do not fit"):
        torch_models.read(path)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (b"def build(): raise RuntimeError('no GPU')", "no GPU"),
        (b"def build(): return 3", "gave int"),
        (b"def other(): pass", "build"),
        (b"def build(:", "SyntaxError"),
    ],
)
def test_a_factory_that_does_not_build_a_module_is_rejected(source: bytes, word: str) -> None:
    with pytest.raises(ModelRejected, match=word):
        torch_models.run_factory(source, "build")


def test_outputs_are_taken_in_the_signatures_order() -> None:
    signature = Signature(
        (), (TensorSpec("b", "float32", (-1,)), TensorSpec("a", "float32", (-1,)))
    )
    one, two = torch.ones(1), torch.zeros(1)
    assert torch_models.named_outputs({"a": one, "b": two}, signature) == (two, one)
    assert torch_models.named_outputs((two, one), signature) == (two, one)
    for wrong in (one, (one,), {"a": one}, "text", (one, 3)):
        with pytest.raises(ModelRejected):
            torch_models.named_outputs(wrong, signature)
