"""Integer models answer alike on this computer and on phones, whatever its processor overflows."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distillfarm.compression.predictors.onnx import OnnxPredictor, has_integer_kernels
from distillfarm.domain.errors import ModelRejected

# Two products of 255 and 127 are the most that 16 bits hold no more: where sums of two are kept
# in them, every one of these overflows.
_INPUTS = 64
_BRIGHTEST, _HEAVIEST = 255, 127


@pytest.fixture
def integer_model(tmp_path: Path) -> Path:
    """y = x w in integers, as dynamic quantisation leaves it: x uint8 [1, 64], w int8 [64, 8]."""
    weights = np.full((_INPUTS, 8), _HEAVIEST, np.int8)
    graph = helper.make_graph(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
            helper.make_node("MatMulInteger", ["q", "w", "zero"], ["sums"]),
            helper.make_node("Cast", ["sums"], ["whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["whole", "scale"], ["y"]),
        ],
        "integers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, _INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "integers.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.mark.parametrize("plain", [False, True])
def test_sums_do_not_overflow(integer_model: Path, plain: bool) -> None:
    predictor = OnnxPredictor(integer_model, 1, plain)
    told = predictor.run({"x": np.full((1, _INPUTS), 1.0, np.float32)})["y"]
    assert told.astype(np.float64) == pytest.approx(_INPUTS * _HEAVIEST, rel=1e-3)


def test_integer_kernels_are_found_and_floats_are_none(integer_model: Path, tmp_path: Path) -> None:
    assert has_integer_kernels(integer_model)
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "floats",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    onnx.save(helper.make_model(graph), tmp_path / "floats.onnx")
    assert not has_integer_kernels(tmp_path / "floats.onnx")


def test_what_is_no_model_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"\x08\x07\xff\xff")
    with pytest.raises(ModelRejected, match="no ONNX model"):
        has_integer_kernels(tmp_path / "none.onnx")
