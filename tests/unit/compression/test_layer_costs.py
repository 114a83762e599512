"""What layers cost, held against counts that others make, or that are made by hand."""

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import format_models
import numpy as np
import onnx
import pytest
import tiny_models
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from distillfarm.compression import analysis, torch_models
from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.zoo.config import student
from distillfarm.compression.zoo.modules import build
from distillfarm.domain.model import Analysis, LayerCost, ModelFormat, Signature, TensorSpec

Arrays = Mapping[str, np.ndarray]
KINDS = ("image", "tokens", "sequence", "vector")


def module_of(kind: str) -> tuple[torch.nn.Module, torch_models.ModuleSpec]:
    dtype, shape = tiny_models.SHAPES[kind]
    signature = Signature(
        (TensorSpec("x", dtype, (-1, *shape)),), (TensorSpec("y", "float32", (-1, 3)),)
    )
    config = dataclasses.replace(student(signature, 1.0), vocabulary=40)
    return build(config).eval(), torch_models.ModuleSpec(signature, zoo=config)


def counted(kind: str, folder: Path) -> tuple[Analysis, torch.nn.Module, torch.Tensor]:
    module, spec = module_of(kind)
    torch_models.write(torch_models.TorchModel(module, spec), folder / "model.zip")
    found = analysis.count(WorkingModel(folder / "model.zip", ModelFormat.TORCH_MODULE))
    (example,) = torch_models.example_inputs(spec.signature)
    return found, module, example


def exported(kind: str, folder: Path) -> Analysis:
    module, _ = module_of(kind)
    dtype, shape = tiny_models.SHAPES[kind]
    example = torch.zeros(2, *shape, dtype=getattr(torch, dtype))
    path = folder / "model.onnx"
    torch.onnx.export(
        module, (example,), path, dynamo=True, external_data=False, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    return analysis.count(WorkingModel(path, ModelFormat.ONNX))


def of_graph(model: onnx.ModelProto, folder: Path) -> dict[str, LayerCost]:
    onnx.save(model, folder / "model.onnx")
    found = analysis.count(WorkingModel(folder / "model.onnx", ModelFormat.ONNX))
    return {each.name: each for each in found.layers}


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_counts_as_pytorch_counts_it(tmp_path: Path, kind: str) -> None:
    found, module, example = counted(kind, tmp_path)
    parameters = sum(each.numel() for each in module.parameters())
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), math_attention(), counter:
        module(example)
    assert found.macs == counter.get_total_flops() // 2
    assert sum(each.macs for each in found.layers) == found.macs
    assert found.parameters == parameters
    assert sum(each.parameters for each in found.layers) == parameters


def math_attention() -> AbstractContextManager[None]:
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_network_does_the_same_work_as_onnx_with_a_free_batch(
    tmp_path: Path, kind: str
) -> None:
    here, _, _ = counted(kind, tmp_path)
    assert exported(kind, tmp_path).macs == here.macs


def test_a_recurrent_layer_is_one_layer_with_all_its_work(tmp_path: Path) -> None:
    found, _, _ = counted("sequence", tmp_path)
    layer = next(each for each in found.layers if each.name == "body.layers")
    steps, inputs, hidden = 6, 4, 64
    first, second = inputs + hidden, hidden + hidden
    assert layer.operator == "GRU"
    assert layer.macs == steps * 3 * hidden * (first + second)
    assert layer.parameters == 3 * hidden * (first + second) + 2 * 2 * 3 * hidden
    assert layer.weight_bytes == 4 * layer.parameters  # read once, however many the steps


def test_a_product_moves_its_weights_and_both_its_sides(tmp_path: Path) -> None:
    weights = {"w": np.ones((6, 5), np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "product")]
    model = format_models.model_of(nodes, {"x": ["n", 6]}, {"y": ["n", 5]}, weights)
    layer = of_graph(model, tmp_path)["product"]
    assert layer == LayerCost("product", "MatMul", 30, 30, 4 * 30, 4 * (6 + 5))


def test_a_table_is_read_by_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    found, _, _ = counted("tokens", tmp_path)
    table = next(each for each in found.layers if each.name == "body.tokens")
    length, width, vocabulary = 10, 64, 40
    assert table.parameters == vocabulary * width
    assert table.weight_bytes == 4 * length * width
    by_hand: Arrays = {"w": np.ones((40, 8), np.float32), "rows": np.arange(3, dtype=np.int64)}
    nodes = [
        helper.make_node("Gather", ["w", "rows"], ["g"], "gather"),
        helper.make_node("MatMul", ["x", "g"], ["y"], "product"),
    ]
    model = format_models.model_of(nodes, {"x": ["n", 3]}, {"y": ["n", 8]}, by_hand)
    gather = of_graph(model, tmp_path)["gather"]
    assert (gather.parameters, gather.weight_bytes) == (320, 4 * 3 * 8)


def test_a_reshape_moves_nothing_and_eight_bits_are_read_as_eight_bits(tmp_path: Path) -> None:
    weights: Arrays = {
        "q": np.ones((6, 5), np.int8),
        "scale": np.ones(5, np.float32),
        "zero": np.zeros(5, np.int8),
        "shape": np.array([-1, 5], np.int64),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], "wide", axis=1),
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("Reshape", ["m", "shape"], ["y"], "reshape"),
    ]
    layers = of_graph(
        format_models.model_of(nodes, {"x": ["n", 6]}, {"y": ["n", 5]}, weights), tmp_path
    )
    assert layers["reshape"].activation_bytes == 0
    assert layers["product"].weight_bytes == 30 + 20 + 5
    assert layers["product"].parameters == 30
    assert layers["wide"].weight_bytes == 0


def test_shapes_that_are_worked_out_from_shapes_are_known(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Shape", ["x"], ["all"]),
        helper.make_node("Gather", ["all", "first"], ["batch"]),
        helper.make_node("Mul", ["batch", "two"], ["twice"]),
        helper.make_node("Div", ["twice", "two"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"], "product"),
    ]
    constants = {
        "first": np.array([0], np.int64),
        "two": np.array([2], np.int64),
        "rest": np.array([6], np.int64),
        "w": np.ones((6, 5), np.float32),
    }
    graph = helper.make_graph(
        nodes, "shapes",
        [value("x", TensorProto.FLOAT, ["n", 2, 3])],
        [value("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 20)]
    assert (
        of_graph(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path)[
            "product"
        ].macs
        == 30
    )


def test_a_tflite_convolution_is_counted_by_hand() -> None:
    path = format_models.GOLDEN / "tiny.tflite"
    found = analysis.count(WorkingModel(path, ModelFormat.TFLITE))
    layer = next(each for each in found.layers if each.operator == "CONV_2D")
    made = 30 * 30 * 8
    assert (layer.macs, layer.parameters) == (made * 27, 8 * 27 + 8)
    assert layer.weight_bytes == 4 * (8 * 27 + 8)
    assert layer.activation_bytes == 4 * (3 * 32 * 32 + made)
    moved = sum(each.weight_bytes + each.activation_bytes for each in found.layers)
    assert found.traffic_bytes == moved


@pytest.mark.slow
@pytest.mark.parametrize(("name", "published_gmacs"), [("resnet50", 4.09), ("squeezenet", 0.35)])
def test_known_networks_cost_what_is_published(name: str, published_gmacs: float) -> None:
    """The figures are torchvision's (GFLOPS in its table of models are multiply-accumulates)."""
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    found = analysis.count(WorkingModel(path, ModelFormat.ONNX))
    assert found.macs / 1e9 == pytest.approx(published_gmacs, abs=0.005)
