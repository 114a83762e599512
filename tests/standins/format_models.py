"""One small CNN, 3x32x32 -> 4, in every format that is read."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
PARAMETERS = 8 * 3 * 3 * 3 + 8 + 8 * 4 + 4
MACS = 30 * 30 * 8 * 27 + 8 * 4
FACTORY = """
import torch
from torch import nn

class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.dense = nn.Linear(8, 4)

    def forward(self, image):
        return self.dense(self.conv(image).relu().mean((2, 3)))

def make():
    torch.manual_seed(1)
    return Cnn()
"""
EXAMPLES = """
def example_inputs():
    return {"image": torch.zeros(1, 3, 32, 32)}
"""
FORMATS = ("onnx", "tflite", "pt2", "pt", "old.pt", "safetensors", "keras", "h5", "saved_model.tar")


def write(kind: str, folder: Path) -> Path:
    """The CNN in the format ``kind``; a state dict's factory lies beside it as ``factory.py``."""
    path = folder / f"tiny.{kind}"
    if kind == "onnx":
        onnx.save(onnx_model(), path)
    elif kind == "saved_model.tar":
        shutil.copyfile(GOLDEN / "tiny_saved_model.tar", path)
    elif kind in ("tflite", "keras", "h5"):
        shutil.copyfile(GOLDEN / f"tiny.{kind}", path)
    else:
        _write_torch(kind, path)
    (folder / "factory.py").write_text(FACTORY + EXAMPLES)
    return path


def factory_for(path: Path) -> str:
    """The ``--factory`` that a file of ``write`` needs."""
    needs = path.suffix in (".pt", ".safetensors")
    return f"{path.parent / 'factory.py'}:make" if needs else ""


def torch_module() -> torch.nn.Module:
    """The CNN as the factory makes it, with weights of its own."""
    namespace: dict[str, Any] = {}
    exec(FACTORY, namespace)  # noqa: S102
    module: torch.nn.Module = namespace["make"]()
    return module.eval()


def _write_torch(kind: str, path: Path) -> None:
    module = torch_module()
    if kind == "pt2":
        batch = {"image": {0: torch.export.Dim("batch")}}
        program = torch.export.export(module, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch)
        torch.export.save(program, path)
    elif kind == "safetensors":
        save_file(module.state_dict(), path)
    else:
        torch.save(module.state_dict(), path, _use_new_zipfile_serialization=kind == "pt")


def onnx_model() -> onnx.ModelProto:
    """The CNN with seeded weights."""
    random = np.random.default_rng(0)
    weights = {
        "conv.weight": random.normal(size=(8, 3, 3, 3)),
        "conv.bias": random.normal(size=8),
        "dense.weight": random.normal(size=(4, 8)),
        "dense.bias": random.normal(size=4),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node(
            "Gemm", ["f", "dense.weight", "dense.bias"], ["scores"], "dense", transB=1
        ),
    ]
    return model_of(
        nodes,
        {"image": ["n", 3, 32, 32]},
        {"scores": ["n", 4]},
        {name: value.astype(np.float32) for name, value in weights.items()},
    )


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> onnx.ModelProto:
    """An ONNX model of float tensors from its nodes."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [value(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)
