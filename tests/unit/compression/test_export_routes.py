"""What an exporter does when its first route fails: the next one, and then a reason by name."""

import dataclasses
from pathlib import Path

import export_models
import onnx
import pytest
import tiny_models

from distillfarm.compression import registry, torch_models
from distillfarm.compression.exporters.comparison import max_abs_error
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import ExportRefused, WorkingModel
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat, Signature

BRANCH = r"control flow depends on the data \(factory\.py, line 8: if x\.sum\(\) > 0:\)"


def exported(
    problem: tiny_models.Problem, runtime: str, folder: Path
) -> tuple[WorkingModel, list[str]]:
    """The file and the notes of the exporter."""
    target = parse_target(runtime)
    exporter, workspace = registry.exporter(target.runtime), problem.workspace(folder)
    path = exporter.export(problem.model, target, workspace)
    return WorkingModel(path, exporter.format), workspace.notes


@pytest.mark.slow
def test_a_batch_that_must_be_fixed_is_fixed(tmp_path: Path) -> None:
    problem = export_models.made("FakeQuantised", tmp_path / "p")
    model, notes = exported(problem, "onnxruntime", tmp_path / "w")
    assert notes[0].startswith("written by torch.onnx with a batch of 1; not by torch.onnx with a")
    assert open_model(model, 1).signature.inputs[0].shape == (1, export_models.WIDTH)


@pytest.mark.slow
def test_what_torch_export_cannot_write_goes_through_torchscript(tmp_path: Path) -> None:
    problem = export_models.made("Prototypes", tmp_path / "p")
    model, notes = exported(problem, "onnxruntime", tmp_path / "w")
    assert notes[0].startswith("written by TorchScript; not by torch.onnx with a free batch: ")
    assert open_model(model, 1).signature.inputs[0].shape[0] == -1
    assert max_abs_error(model, problem.model, problem.workspace(tmp_path / "v")) < 1e-4


@pytest.mark.slow
def test_an_operator_that_no_route_knows_is_named_for_each(tmp_path: Path) -> None:
    problem = export_models.made("Kth", tmp_path / "p")
    with pytest.raises(ExportRefused) as refused:
        exported(problem, "onnxruntime", tmp_path / "w")
    routes = ("torch.onnx with a free batch", "torch.onnx with a batch of 1", "TorchScript")
    reason = "operator aten.kthvalue is not supported"
    assert str(refused.value).startswith("; ".join(f"not by {each}: {reason}" for each in routes))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "routes"),
    [
        ("onnxruntime", 3),
        ("litert", 1),
        pytest.param("coreml", 2, marks=pytest.mark.slow),
        pytest.param("executorch", 1, marks=pytest.mark.slow),
        pytest.param("coreai", 1, marks=pytest.mark.slow),
    ],
)
def test_a_branch_on_the_data_is_refused_with_its_line_and_never_traced_away(
    tmp_path: Path, runtime: str, routes: int
) -> None:
    # A trace would keep the side that the example input took, and lose the other.
    problem = export_models.made("Branch", tmp_path / "p")
    with pytest.raises(ExportRefused, match=BRANCH) as refused:
        exported(problem, runtime, tmp_path / "w")
    assert str(refused.value).count("factory.py, line 8") == routes


@pytest.mark.parametrize(
    ("runtime", "operator"),
    [
        ("litert", r"aten\.kthvalue"),
        pytest.param("coreml", "kthvalue", marks=pytest.mark.slow),
        pytest.param("executorch", r"aten\.kthvalue", marks=pytest.mark.slow),
        pytest.param("coreai", r"aten\.kthvalue", marks=pytest.mark.slow),
    ],
)
def test_every_runtime_names_the_operator_that_it_lacks(
    tmp_path: Path, runtime: str, operator: str
) -> None:
    problem = export_models.made("Kth", tmp_path / "p")
    with pytest.raises(ExportRefused, match=rf"operator {operator}\S* is not supported"):
        exported(problem, runtime, tmp_path / "w")


def test_a_file_that_its_runtime_does_not_load_is_no_success(tmp_path: Path) -> None:
    # The converter writes RFFT2D for any length, LiteRT runs powers of two only.
    problem = export_models.made("Spectrum", tmp_path / "p")
    with pytest.raises(ExportRefused, match=r"not by litert-torch: LiteRT cannot load.*RFFT2D"):
        exported(problem, "litert", tmp_path / "w")


@pytest.mark.slow
def test_complex_numbers_inside_a_model_are_no_hindrance_where_a_route_follows(
    tmp_path: Path,
) -> None:
    problem = export_models.made("Spectrum", tmp_path / "p")
    _, notes = exported(problem, "coreml", tmp_path / "w")
    assert notes[0].startswith("written by coremltools on a trace; not by coremltools on torch.exp")


@pytest.mark.parametrize(
    "runtime",
    [
        "onnxruntime",
        "litert",
        pytest.param("executorch", marks=pytest.mark.slow),
        pytest.param("coreai", marks=pytest.mark.slow),
    ],
)
def test_two_inputs_of_one_shape_are_told_apart_by_their_names(
    tmp_path: Path, runtime: str
) -> None:
    problem = export_models.made("Difference", tmp_path / "p", ("left", "right"))
    file = exported(problem, runtime, tmp_path / "w")[0]
    # The same module, said to take them the other way round, gives other answers.
    model = torch_models.read(problem.model.path)
    left, right = model.spec.signature.inputs
    turned = Signature((right, left), model.spec.signature.outputs)
    spec = dataclasses.replace(model.spec, signature=turned)
    torch_models.write(dataclasses.replace(model, spec=spec), tmp_path / "turned.zip")
    other = WorkingModel(tmp_path / "turned.zip", ModelFormat.TORCH_MODULE)
    with pytest.raises(ExportRefused, match="the conversion is wrong"):
        max_abs_error(file, other, problem.workspace(tmp_path / "v"))


def test_inputs_swapped_in_a_file_are_caught(tmp_path: Path) -> None:
    problem = export_models.made("Difference", tmp_path / "p", ("left", "right"))
    model, _ = exported(problem, "onnxruntime", tmp_path / "w")
    content = onnx.load(model.path)
    swap = {"left": "right", "right": "left"}
    for node in content.graph.node:
        node.input[:] = [swap.get(name, name) for name in node.input]
    onnx.save(content, tmp_path / "swapped.onnx")
    swapped = WorkingModel(tmp_path / "swapped.onnx", ModelFormat.ONNX)
    with pytest.raises(ExportRefused, match="output y of the export is off by"):
        max_abs_error(swapped, problem.model, problem.workspace(tmp_path / "v"))


@pytest.mark.slow
def test_onnx_notes_tell_the_optimisation_and_how_the_file_is_run(
    tmp_path: Path, image_problem: tiny_models.Problem
) -> None:
    _, notes = exported(image_problem, "onnxruntime", tmp_path / "w")
    assert any("level all, at load" in each and "inter-op threads 1" in each for each in notes)
    assert not (tmp_path / "w" / "optimised.onnx").exists()
