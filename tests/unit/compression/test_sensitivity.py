"""What each layer minds: one treated at a time, as written, and the model left as it was."""

from pathlib import Path

import format_models
import numpy as np
import pytest
import tiny_models
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from distillfarm.compression import analysis, torch_models
from distillfarm.compression.analysis import onnx_edits, sensitivity, tflite_edits, torch_edits
from distillfarm.compression.analysis.sensitivity import (
    Editor,
    Question,
    kl_divergence,
    relative_error,
)
from distillfarm.compression.analysis.torch_subject import Subject
from distillfarm.compression.analysis.treatments import int4, int8, low_rank, prune
from distillfarm.compression.datasets import Samples
from distillfarm.compression.evaluation import Accuracy
from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.workshop import Workshop
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import (
    Analysis,
    ArtifactRef,
    Dataset,
    ModelFormat,
    Signature,
    SourceModel,
    TensorSpec,
)
from distillfarm.sandbox.limits import Limits
from distillfarm.wire.blobs import LocalBlobs

Floats = NDArray[np.float32]


def silent(_done: float, _text: str) -> None:
    pass


def asked(model: WorkingModel, data: Path) -> Analysis:
    return analysis.analyse(model, 1, silent, Question(data, 0, Accuracy()))


def told(edits: Editor, samples: Samples, layer: str = "", technique: str = "") -> Floats:
    """The only output."""
    (scores,) = edits.answers(samples, layer, technique).values()
    return scores.astype(np.float32)


def random(*shape: int) -> Floats:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_rounding_stays_within_half_a_step() -> None:
    matrix = random(6, 40)
    step = np.abs(matrix).max(axis=1, keepdims=True)
    assert (np.abs(int8(matrix) - matrix) <= step / 127 / 2 + 1e-6).all()
    assert (np.abs(int4(matrix) - matrix) <= step / 7 / 2 + 1e-6).all()
    assert len(np.unique(int4(matrix)[0, :32])) <= 15


def test_four_bits_share_a_scale_by_blocks_of_32() -> None:
    matrix = np.full((1, 40), 0.001, np.float32)
    matrix[0, 0] = 7.0
    assert not int4(matrix)[0, 1:32].any()
    np.testing.assert_allclose(int4(matrix)[0, 32:], 0.001, rtol=1e-5)


def test_pruning_takes_the_half_with_the_smallest_norms() -> None:
    matrix = np.diag([4.0, 1.0, 3.0, 2.0]).astype(np.float32)
    np.testing.assert_array_equal(prune(matrix), np.diag([4.0, 0, 3.0, 0]))


def test_low_rank_keeps_a_matrix_that_is_of_low_rank_and_halves_the_parameters() -> None:
    left, right = random(32, 4), random(4, 32)
    np.testing.assert_allclose(low_rank(left @ right), left @ right, atol=1e-4)
    assert np.linalg.matrix_rank(low_rank(random(32, 32))) == 32 * 32 // (2 * 64)


def test_divergence_is_that_of_the_formula() -> None:
    own, treated = random(5, 3), random(5, 3) + random(5, 3)[::-1]
    before, after = (torch.from_numpy(each).log_softmax(1) for each in (own, treated))
    expected = nn.functional.kl_div(after, before, reduction="batchmean", log_target=True)
    assert kl_divergence(own, treated) == pytest.approx(float(expected), rel=1e-5)
    assert kl_divergence(own, own) == 0.0
    probabilities = before.exp().numpy(), after.exp().numpy()
    assert kl_divergence(*probabilities) == pytest.approx(float(expected), rel=1e-3)
    assert relative_error({"y": own}, {"y": 2 * own}) == pytest.approx(1.0)


def test_only_the_layer_asked_for_is_treated_and_it_is_put_back(
    image_problem: tiny_models.Problem,
) -> None:
    found = asked(image_problem.model, image_problem.data)
    edits = torch_edits.editor(
        image_problem.model,
        image_problem.signature,
        [analysis.layers.Layer(each.name, each.operator, each.macs) for each in found.layers],
    )
    samples = Samples({"x": random(8, 1, 12, 12)}, np.zeros(8, np.int64))
    own = told(edits, samples)
    treated = told(edits, samples, "body.3", "prune")
    again = told(edits, samples)
    np.testing.assert_array_equal(own, again)

    module = torch_models.read(image_problem.model.path).module
    weight = module.get_parameter("body.3.weight")
    with torch.no_grad():
        norms = weight.flatten(1).norm(dim=1)
        weight[norms.argsort()[: len(norms) // 2]] = 0
        expected = module(torch.from_numpy(samples.inputs["x"])).numpy()
    np.testing.assert_allclose(treated, expected, atol=1e-5)
    assert np.abs(treated - own).max() > 1e-3


def test_the_layers_that_eight_bits_break_are_named(trap: tiny_models.Problem) -> None:
    found = asked(trap.model, trap.data)
    drops = {each.layer: each.drop_points for each in found.sensitivity if each.technique == "int8"}
    assert drops["keep"] > 30
    assert drops["answer"] > 30
    assert drops["take"] < 1
    (said,) = (each for each in found.bottlenecks if each.startswith("INT8"))
    assert "'keep'" in said
    assert "mixed" in said


def test_what_makes_the_outputs_is_never_pruned(image_problem: tiny_models.Problem) -> None:
    found = asked(image_problem.model, image_problem.data)
    techniques = {
        layer: {each.technique for each in found.sensitivity if each.layer == layer}
        for layer in ("body.3", "head")
    }
    assert techniques["body.3"] == {"int8", "int4", "prune", "low_rank"}
    assert techniques["head"] == {"int8", "int4", "low_rank"}


def test_the_same_question_has_the_same_answer(image_problem: tiny_models.Problem) -> None:
    first, second = (asked(image_problem.model, image_problem.data) for _ in range(2))
    assert first.sensitivity == second.sensitivity
    assert any(each.drop_points > 1 for each in first.sensitivity)
    assert any("hurts" in each for each in first.bottlenecks)


def test_eight_bits_round_what_the_layer_takes_in_too() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False)).eval()
    with torch.no_grad():
        module.get_parameter("0.weight").copy_(torch.eye(2))
    subject = Subject(module, list(module.named_parameters()), (), 4, {}, {})
    signature = Signature(
        (TensorSpec("x", "float32", (-1, 2)),),
        (TensorSpec("y", "float32", (-1, 2)),),
    )
    layers = [analysis.layers.Layer("0", "Linear", macs=4)]
    edits = torch_edits.TorchEditor(subject, signature, layers, outputs_last=False)
    samples = Samples({"x": np.array([[100.0, 0.1]], np.float32)}, np.zeros(1, np.int64))
    # The weights are exact in 8 bits; 0.1 is less than half a step of a range of 100.
    np.testing.assert_allclose(told(edits, samples, "0", "int8"), [[100, 0]], atol=1e-4)
    np.testing.assert_allclose(told(edits, samples), [[100, 0.1]], atol=1e-4)


def test_onnx_and_tflite_are_treated_as_the_module_would_be() -> None:
    samples = Samples({"image": random(4, 3, 32, 32)}, np.zeros(4, np.int64))
    edits = onnx_edits.OnnxEditor(format_models.onnx_model())
    weights = {each.name: each for each in format_models.onnx_model().graph.initializer}
    assert [(each.name, each.prunable) for each in edits.layers] == [
        ("conv", True),
        ("dense", False),
    ]
    module = format_models.torch_module()
    to_array = numpy_helper.to_array
    module.load_state_dict(
        {name: torch.from_numpy(to_array(each).copy()) for name, each in weights.items()}
    )
    for technique, treat in (("prune", prune), ("low_rank", low_rank), ("int4", int4)):
        changed = format_models.torch_module()
        changed.load_state_dict(module.state_dict())
        with torch.no_grad():
            kernel = changed.get_parameter("conv.weight")
            kernel.copy_(torch.from_numpy(treat(kernel.flatten(1).numpy())).reshape(kernel.shape))
            expected = changed(torch.from_numpy(samples.inputs["image"])).numpy()
        np.testing.assert_allclose(told(edits, samples, "conv", technique), expected, atol=1e-3)

    lite = tflite_edits.TfLiteEditor(format_models.GOLDEN / "tiny.tflite")
    convolution = next(each for each in lite.layers if each.prunable)
    given = Samples({"args_0": random(2, 3, 32, 32)}, np.zeros(2, np.int64))
    own = told(lite, given)
    treated = told(lite, given, convolution.name, "prune")
    assert np.abs(own - treated).max() > 1e-4
    np.testing.assert_array_equal(told(lite, given), own)


def test_eight_bits_of_an_onnx_layer_round_its_inputs() -> None:
    edits = onnx_edits.OnnxEditor(format_models.onnx_model())
    inputs = random(4, 3, 32, 32)
    samples = Samples({"image": inputs}, np.zeros(4, np.int64))
    treated = told(edits, samples, "conv", "int8")
    low, high = inputs.min(), inputs.max()
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    by_hand = (np.clip(np.rint(inputs / scale) + zero, 0, 255) - zero) * scale
    model = format_models.onnx_model()
    kernel = next(each for each in model.graph.initializer if each.name == "conv.weight")
    values = numpy_helper.to_array(kernel)
    changed = int8(values.reshape(8, -1)).reshape(values.shape)
    kernel.CopyFrom(numpy_helper.from_array(changed, kernel.name))
    given = Samples({"image": by_hand.astype(np.float32)}, samples.labels)
    expected = told(onnx_edits.OnnxEditor(model), given)
    np.testing.assert_allclose(treated, expected, atol=1e-3)


def test_when_the_time_is_over_what_was_left_out_is_said(
    image_problem: tiny_models.Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "SECONDS", -1.0)
    found = asked(image_problem.model, image_problem.data)
    assert found.sensitivity == ()
    assert "was asked of the 0 largest of 3 layers only" in found.bottlenecks[-1]


def test_data_that_do_not_fit_are_refused(
    image_problem: tiny_models.Problem, vector_problem: tiny_models.Problem
) -> None:
    with pytest.raises(InvalidRequest, match="the model takes"):
        asked(image_problem.model, vector_problem.data)


@pytest.mark.slow
def test_the_workshop_asks_in_the_sandbox(
    vector_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    work = Workshop(blobs, tmp_path / "work", Limits())
    path = vector_problem.model.path
    dataset = Dataset(blobs.put_file(vector_problem.data))
    artifact = ArtifactRef(
        blobs.put_file(path), path.stat().st_size, ModelFormat.TORCH_MODULE, path.name
    )
    variant = work.ingest(SourceModel(artifact), dataset)
    said: list[str] = []
    found = work.analyse(variant, dataset, report=lambda _done, text: said.append(text))
    assert {each.layer for each in found.sensitivity} == {"body.0", "body.2", "head"}
    assert any("int8 of" in each for each in said)
    assert not work.analyse(variant).sensitivity
