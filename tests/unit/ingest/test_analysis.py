"""What counts: weights wherever they hide, the work of one sample, the sentences that follow."""

from pathlib import Path

import format_models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distillfarm.compression.analysis import count
from distillfarm.compression.analysis.bottlenecks import Evidence, bottlenecks
from distillfarm.compression.analysis.layers import Facts, Layer
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Analysis, ModelFormat


def analysed(model: onnx.ModelProto, folder: Path) -> Analysis:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return count(WorkingModel(path, ModelFormat.ONNX))


def constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_weights_in_constants_are_counted(tmp_path: Path) -> None:
    nodes = [constant("w", ones(6, 5)), helper.make_node("MatMul", ["x", "w"], ["y"])]
    found = analysed(format_models.model_of(nodes, {"x": ["n", 6]}, {"y": ["n", 5]}), tmp_path)
    assert (found.parameters, found.macs) == (30, 30)


def test_weights_in_subgraphs_are_counted_and_only_the_dearer_branch_costs(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info

    def branch(width: int) -> onnx.GraphProto:
        nodes = [
            constant(f"w{width}", ones(6, width)),
            constant(f"v{width}", ones(width, 6)),
            helper.make_node("MatMul", ["x", f"w{width}"], [f"h{width}"]),
            helper.make_node("MatMul", [f"h{width}", f"v{width}"], [f"o{width}"]),
        ]
        outputs = [value(f"o{width}", TensorProto.FLOAT, ["n", 6])]
        return helper.make_graph(nodes, f"branch{width}", [], outputs)

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["b"], to=TensorProto.BOOL),
        helper.make_node("If", ["b"], ["y"], then_branch=branch(3), else_branch=branch(7)),
    ]
    found = analysed(format_models.model_of(nodes, {"x": ["n", 6]}, {"y": ["n", 6]}), tmp_path)
    assert found.parameters == 2 * 6 * (3 + 7)
    assert found.macs == 2 * 6 * 7
    assert next(each for each in found.operators if each.operator == "MatMul").count == 4


def test_shapes_scales_and_indices_are_no_parameters(tmp_path: Path) -> None:
    weights = {
        "q": np.ones((6, 5), np.int8),
        "scale": ones(5),
        "zero": np.zeros(5, np.int8),
        "shape": np.array([-1, 5], np.int64),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    model = format_models.model_of(nodes, {"x": ["n", 6]}, {"y": ["n", 5]}, weights)
    found = analysed(model, tmp_path)
    assert (found.parameters, found.macs, found.dtypes) == (30, 30, ("int8",))


def test_fixed_batch_is_counted_for_one_sample(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = format_models.model_of(nodes, {"x": [8, 6]}, {"y": [8, 5]}, {"w": ones(6, 5)})
    assert analysed(model, tmp_path).macs == 30


def test_recurrent_and_einsum_products_are_counted(tmp_path: Path) -> None:
    hidden, width, steps = 7, 5, 10
    weights = {
        "w": ones(1, 4 * hidden, width),
        "r": ones(1, 4 * hidden, hidden),
        "e": ones(hidden, 3),
    }
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["s", "h"], hidden_size=hidden),
        helper.make_node("Einsum", ["h", "e"], ["y"], equation="dbh,ho->dbo"),
    ]
    model = format_models.model_of(nodes, {"x": [steps, 1, width]}, {"y": [1, 1, 3]}, weights)
    # The first dimension is the time here, which reads as a batch of ten.
    lstm = steps * 4 * hidden * (width + hidden) // steps
    found = analysed(model, tmp_path)
    costs = {each.operator: each.macs for each in found.operators}
    assert costs == {"LSTM": lstm, "Einsum": hidden * 3 // steps}
    assert any("is recurrent" in each for each in found.bottlenecks)


def test_hostile_operator_names_cannot_flood_the_analysis() -> None:
    name = "evil\x1b[2J\n" * 1000
    layers = (Layer(name, name, macs=10, weight_bytes=4, activation_bytes=4),)
    (first, *_) = bottlenecks(Evidence(Facts(1, layers, ("float32",)), layers))
    assert "\n" not in first
    assert "\x1b" not in first
    assert len(first) < 400


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (
            [Layer("fc", "Gemm", 1_000_000, 4_000_000, 100, 10**6, 4_000_000)],
            "Gemm 'fc' holds 100% of 4.00 MB",
        ),
        ([Layer("fc", "Gemm", 1_000_000, 4_000_000, 100)], "memory-bound on a phone: 0.2 multiply"),
        ([Layer("c", "Conv", 10**9, 10_000, 10**6)], "compute-bound on a phone: 990 multiply"),
        ([Layer("c", "Conv", 10**9, 10_000, 10**6)], "does 100% of 1.0 G multiply"),
        ([Layer(str(i), "Reshape") for i in range(10)], "10 of 10 operators only move"),
    ],
)
def test_bottleneck_names_what_dominates(layers: list[Layer], says: str) -> None:
    said = bottlenecks(Evidence(Facts(1, tuple(layers), ("int8",)), layers))
    assert any(says in each for each in said)
