"""ExecuTorch programs: named, lowered for what was asked, and INT8 only where it took hold."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models

from distillfarm.compression import registry
from distillfarm.compression.census import census
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import ExportRefused, PassRefused, WorkingModel
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import parse_recipe

pytestmark = pytest.mark.slow


def exported(problem: tiny_models.Problem, target: str, folder: Path) -> WorkingModel:
    where = parse_target(target)
    path = registry.exporter(where.runtime).export(problem.model, where, problem.workspace(folder))
    return WorkingModel(path, ModelFormat.EXECUTORCH)


def test_portable_programs_delegate_nothing_and_answer_alike(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    fast = exported(image_problem, "executorch", tmp_path / "fast")
    plain = exported(image_problem, "executorch/portable", tmp_path / "plain")
    assert census(fast) == ("XnnpackBackend 1",)
    assert "aten::convolution 2" in census(plain)
    with np.load(image_problem.data) as data:
        inputs = {"x": data["x"][:3]}
    first, second = (open_model(each, 1)(inputs)["scores"] for each in (fast, plain))
    assert np.allclose(first, second, atol=1e-4)
    # Each call's answer is its own: the runtime's memory is used again by the next.
    assert len({tuple(row) for row in first}) == 3


def test_an_unknown_delegate_is_refused(image_problem: tiny_models.Problem, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match=r"'vulkan'.*xnnpack or portable"):
        exported(image_problem, "executorch/vulkan/gpu", tmp_path / "w")


def test_a_file_that_is_no_program_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "model.pte").write_bytes(b"\0" * 64)
    with pytest.raises(ModelRejected, match="ExecuTorch cannot load"):
        open_model(WorkingModel(tmp_path / "model.pte", ModelFormat.EXECUTORCH), 1)


def test_dynamic_int8_serves_attention_encoders(tmp_path: Path) -> None:
    problem = tiny_models.trained("tokens", tmp_path / "p")
    workspace = problem.workspace(tmp_path / "w")
    spec = parse_recipe("int8_xnnpack(activations=dynamic)").passes[0]
    made = registry.compression_pass("int8_xnnpack").run(problem.model, spec, workspace)
    assert made.path.stat().st_size < 0.5 * problem.model.path.stat().st_size
    assert workspace.notes[0].endswith(
        "13 of 14 operators with weights; left: 1 aten.embedding.default"
    )
    with np.load(problem.data) as data:
        right = (
            open_model(made, 1)({"x": data["x"][:100]})["scores"].argmax(1) == data["label"][:100]
        )
    assert right.mean() > 0.9


def test_too_few_samples_to_calibrate_with_are_refused(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    with np.load(image_problem.data) as data:
        np.savez(tmp_path / "few.npz", x=data["x"][:60], label=data["label"][:60])
    few = tiny_models.Problem(image_problem.model, tmp_path / "few.npz", image_problem.signature)
    spec = parse_recipe("int8_xnnpack").passes[0]
    with pytest.raises(PassRefused, match=r"\d calibration samples; at least 16"):
        registry.compression_pass("int8_xnnpack").run(
            few.model, spec, few.workspace(tmp_path / "w")
        )
