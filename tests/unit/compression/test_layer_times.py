"""Times by layer: the runtime's own, given to the layers that people know."""

from pathlib import Path

import format_models
import numpy as np
import onnx
import pytest
import tiny_models
import torch
from onnx import helper

from distillfarm.compression import analysis, torch_models
from distillfarm.compression.analysis import onnx_profile
from distillfarm.compression.analysis.profile import Runs, middle
from distillfarm.compression.analysis.sensitivity import Question
from distillfarm.compression.analysis.torch_profile import clock
from distillfarm.compression.analysis.torch_subject import Subject
from distillfarm.compression.evaluation import Accuracy
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import ModelFormat, Signature, TensorSpec

PROFILE = format_models.GOLDEN.parent / "profiles" / "onnxruntime_cnn.json"


def silent(_done: float, _text: str) -> None:
    pass


def test_a_recorded_profile_is_read_by_inference_and_traced_to_layers() -> None:
    optimised = format_models.model_of(
        [
            helper.make_node("Conv", ["image", "w"], ["blocked"], "r_nchwc"),
            helper.make_node("ReorderOutput", ["blocked"], ["r"], "ReorderOutput"),
        ],
        {"image": [1, 3, 32, 32]},
        {"r": [1, 8, 30, 30]},
    )
    trace = onnx_profile.Trace(format_models.onnx_model().graph, optimised.graph)
    runs = onnx_profile.inferences(PROFILE.read_bytes())
    assert len(runs) == 4
    assert [onnx_profile.by_layer(each, trace) for each in runs[1:3]] == [
        # The convolution does the activation's work too: its kernel makes the activation's tensor.
        {"conv": 15, "relu": 4, "pool": 4, "flatten": 3, "dense": 3},
        {"conv": 10, "relu": 3, "pool": 3, "flatten": 2, "dense": 3},
    ]


@pytest.mark.parametrize(
    ("kernel", "operator", "layer"),
    [
        ("dense", "Gemm", "dense"),
        ("dense/MatMulAddFusion", "Gemm", "dense"),
        ("fused conv", "FusedConv", "conv"),
        ("r_nchwc", "Conv", "conv"),
        ("conv_token_9", "QLinearConv", "conv"),
        ("gemm_input_reshape", "Reshape", ""),
    ],
)
def test_a_renamed_kernel_is_traced_back(kernel: str, operator: str, layer: str) -> None:
    graph = format_models.onnx_model().graph
    assert onnx_profile.Trace(graph, graph).layer(kernel, operator) == layer


def test_the_middle_of_the_runs_is_not_moved_by_one_that_was_disturbed() -> None:
    runs = [{"a": 2.0}, {"a": 4.0}, {"a": 3.0}, {"a": 900.0}, {"a": 3.0, "b": 1.0}]
    assert middle(runs) == {"a": pytest.approx(10 / 3), "b": 0.0}


def test_an_onnx_model_is_timed_layer_by_layer(tmp_path: Path) -> None:
    path = format_models.write("onnx", tmp_path)
    found = analysis.analyse(WorkingModel(path, ModelFormat.ONNX), 1, silent)
    times = {each.name: each.time_us for each in found.layers}
    assert set(times) == {"conv", "relu", "pool", "flatten", "dense"}
    assert times["conv"]
    assert found.layers[0].name == max(times, key=lambda name: times[name] or 0.0)
    assert "ONNX Runtime" in found.profile
    assert "no phone's time" in found.profile


def test_the_dearer_layer_of_a_module_takes_longer(tmp_path: Path) -> None:
    signature = Signature(
        (TensorSpec("x", "float32", (-1, 1024)),), (TensorSpec("y", "float32", (-1, 8)),)
    )
    module = torch.nn.Sequential(torch.nn.Linear(1024, 1024), torch.nn.Linear(1024, 8)).eval()
    weights = list(module.named_parameters())
    subject = Subject(module, weights, (), 0, {}, {})
    timed = clock(subject, signature, Runs(0.2))
    assert timed.layers_us["0"] > 3 * timed.layers_us["1"] > 0
    assert "torch.profiler" in timed.said()


def test_names_of_timed_layers_are_those_that_are_counted(
    image_problem: tiny_models.Problem,
) -> None:
    found = analysis.analyse(image_problem.model, 1, silent)
    assert all(each.time_us is not None for each in found.layers)
    assert {"body.0", "body.3", "head"} <= {each.name for each in found.layers}
    assert torch_models.read(image_problem.model.path).module.get_submodule("body.3")


def test_without_a_profiler_that_is_said_plainly() -> None:
    model = WorkingModel(format_models.GOLDEN / "tiny.tflite", ModelFormat.TFLITE)
    found = analysis.analyse(model, 1, silent)
    assert found.profile.startswith("no time by layer: LiteRT's Python interpreter has no profiler")
    assert "a whole inference takes" in found.profile
    assert all(each.time_us is None for each in found.layers)


def test_a_model_that_does_not_run_on_zeros_is_analysed_without_times(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["rows"], to=onnx.TensorProto.INT64),
        helper.make_node("Sub", ["rows", "many"], ["beyond"]),
        helper.make_node("Gather", ["w", "beyond"], ["y"], "gather"),
    ]
    weights: dict[str, np.ndarray] = {
        "w": np.ones((4, 2), np.float32),
        "many": np.array([99], np.int64),
    }
    model = format_models.model_of(nodes, {"x": [1]}, {"y": [1, 2]}, weights)
    onnx.save(model, tmp_path / "model.onnx")
    found = analysis.analyse(WorkingModel(tmp_path / "model.onnx", ModelFormat.ONNX), 1, silent)
    assert found.profile.startswith("no time by layer: ModelRejected")
    assert found.parameters == 8


def test_a_model_that_never_returns_is_given_up_and_still_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(onnx_profile, "_PATIENCE_S", 0.3)
    path = format_models.GOLDEN.parent / "launch_models" / "endless.onnx"
    question = Question(tmp_path / "never read.npz", 0, Accuracy())
    found = analysis.analyse(WorkingModel(path, ModelFormat.ONNX), 1, silent, question)
    assert found.profile.startswith("no time by layer: ModelRejected")
    assert found.operators
    assert "was not asked: the model does not run" in found.bottlenecks[-1]
