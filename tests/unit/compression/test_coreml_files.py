"""What Core ML files hold after export and after each pass, read from the files themselves."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import export_models
import numpy as np
import pytest
import tiny_models

from distillfarm.compression import coreml_models, registry, torch_models
from distillfarm.compression.protocols import (
    ExportRefused,
    PassRefused,
    WorkingModel,
    Workspace,
)
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec
from distillfarm.domain.recipe import parse_recipe

pytestmark = pytest.mark.slow

Compress = Callable[[Path, Path, Workspace], None]


def files() -> Any:
    """What is tested; it loads coremltools, which takes longer than to collect all other tests."""
    return importlib.import_module("distillfarm.compression.passes.coreml_files")


def exported(problem: tiny_models.Problem, folder: Path) -> tuple[WorkingModel, list[str]]:
    """The package and the exporter's notes."""
    target, workspace = parse_target("coreml"), problem.workspace(folder)
    path = registry.exporter(target.runtime).export(problem.model, target, workspace)
    return WorkingModel(path, ModelFormat.COREML), workspace.notes


def weights(path: Path, folder: Path) -> dict[str, np.ndarray]:
    """The weights as the program computes with them."""
    folder.mkdir()
    found: dict[str, np.ndarray] = files()._weights(coreml_models.load(path, folder))
    return found


@pytest.fixture(scope="module")
def image(
    image_problem: tiny_models.Problem, tmp_path_factory: pytest.TempPathFactory
) -> WorkingModel:
    return exported(image_problem, tmp_path_factory.mktemp("coreml") / "w")[0]


def test_a_package_is_one_tar_with_settled_names(image: WorkingModel, tmp_path: Path) -> None:
    model = coreml_models.load(image.path, tmp_path)
    assert model.get_spec().specificationVersion == 7  # iOS 16
    assert (tmp_path / "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin").exists()
    assert coreml_models.weight_bytes(image.path) > 4 * 17_000
    assert coreml_models.census(image.path)["conv"] == 2


def test_a_recurrent_model_goes_through_a_trace(tmp_path: Path) -> None:
    model, notes = exported(export_models.made("Recurrent", tmp_path / "p"), tmp_path / "w")
    assert notes[0] == (
        "written by coremltools on a trace; not by coremltools on torch.export: operator gru is"
        " not supported"
    )
    assert coreml_models.census(model.path)["while_loop"] == 1


def test_weights_of_zeros_and_of_few_values_are_stored_as_such_without_loss(
    tmp_path: Path,
) -> None:
    problem = export_models.made("Repetitive", tmp_path / "p")
    model, _ = exported(problem, tmp_path / "w")
    found = coreml_models.census(model.path)
    assert found["constexpr_sparse_to_dense"] == found["constexpr_lut_to_dense"] == 1
    module = torch_models.read(problem.model.path).module
    wanted = {
        tuple(each.shape): each.detach().numpy() for each in module.parameters() if each.ndim > 1
    }
    stored = weights(model.path, tmp_path / "s")
    assert {each.shape for each in stored.values()} == set(wanted)
    assert all(np.array_equal(each, wanted[each.shape]) for each in stored.values())


def test_tables_and_masks_come_along_to_a_later_system(tmp_path: Path) -> None:
    problem = export_models.made("Repetitive", tmp_path / "p")
    model, _ = exported(problem, tmp_path / "w")
    workspace = problem.workspace(tmp_path / "later")
    later = workspace.folder / "later.tar"
    files().deployed(model.path, later, workspace, 18)
    found = coreml_models.census(later)
    assert found["constexpr_sparse_to_dense"] == found["constexpr_lut_to_dense"] == 1
    before, after = weights(model.path, tmp_path / "before"), weights(later, tmp_path / "after")
    assert all(map(np.array_equal, before.values(), after.values()))


@dataclass(frozen=True)
class Expected:
    """What quantising weights does: at most ``share`` of the file, ``error`` of a weight."""

    operator: str
    share: float
    error: float
    version: int


@pytest.mark.parametrize(
    ("compress", "expected"),
    [
        (
            lambda *given: files().int8_weights(*given),
            Expected("constexpr_affine_dequantize", 0.45, 0.02, 7),
        ),
        (
            lambda *given: files().int4_weights(*given, block=32),
            Expected("constexpr_blockwise_shift_scale", 0.4, 0.2, 9),
        ),
    ],
    ids=["int8", "int4"],
)
def test_weights_shrink_and_the_furthest_off_is_noted(
    image: WorkingModel,
    image_problem: tiny_models.Problem,
    tmp_path: Path,
    compress: Compress,
    expected: Expected,
) -> None:
    workspace = image_problem.workspace(tmp_path / "w")
    made = workspace.folder / "made.tar"
    compress(image.path, made, workspace)
    assert coreml_models.census(made)[expected.operator] >= 1
    assert made.stat().st_size < expected.share * image.path.stat().st_size
    assert workspace.notes[0].startswith("weights only; furthest from what it was is")
    folder = tmp_path / "spec"
    folder.mkdir()
    version = coreml_models.load(made, folder).get_spec().specificationVersion
    assert version == expected.version
    errors = files()._errors(
        weights(image.path, tmp_path / "before"), weights(made, tmp_path / "after")
    )
    assert 0 < max(errors.values()) < expected.error


def test_fp16_refuses_weights_that_it_cannot_hold(tmp_path: Path) -> None:
    problem = export_models.made("Repetitive", tmp_path / "p")
    model = torch_models.read(problem.model.path)
    model.module.get_parameter("sparse.weight").data[0, 0] = 1e6
    torch_models.write(model, problem.model.path)
    source, _ = exported(problem, tmp_path / "w")
    workspace = problem.workspace(tmp_path / "half")
    with pytest.raises(PassRefused, match="beyond 65,504"):
        files().float16(source.path, workspace.folder / "half.tar", workspace)


def test_a_deployment_target_is_raised_and_never_lowered(
    image: WorkingModel, image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    workspace = image_problem.workspace(tmp_path / "w")
    later = registry.compression_pass("deployment").run(
        image, parse_recipe("deployment(ios=18)").passes[0], workspace
    )
    folder = tmp_path / "spec"
    folder.mkdir()
    assert coreml_models.load(later.path, folder).get_spec().specificationVersion == 9
    with pytest.raises(PassRefused, match="needs iOS18 already"):
        files().deployed(later.path, workspace.folder / "back.tar", workspace, 17)


def test_a_name_that_core_ml_cannot_hold_is_refused(tmp_path: Path) -> None:
    problem = export_models.made("Difference", tmp_path / "p", ("left", "right"))
    model = torch_models.read(problem.model.path)
    left, right = model.spec.signature.inputs
    named = Signature(
        (TensorSpec("in:0", left.dtype, left.shape), right), model.spec.signature.outputs
    )
    spec = torch_models.ModuleSpec(named, factory_function="Difference")
    torch_models.write(
        torch_models.TorchModel(model.module, spec, model.factory_source), problem.model.path
    )
    with pytest.raises(ExportRefused, match=r"letters, digits and underscores"):
        exported(problem, tmp_path / "w")


def test_a_damaged_package_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "model.tar").write_bytes(b"no tar at all")
    with pytest.raises(ModelRejected):
        coreml_models.census(tmp_path / "model.tar")
