"""Makes the models of this folder: ``python tests/golden/launch_models/make.py``.

Needs onnx, tensorflow, coremltools and coreai-torch; made with onnx 1.23, tensorflow 2.21,
coremltools 9.0 and coreai-torch 0.4.3.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import coremltools
import flatbuffers
import numpy as np
import onnx
import tensorflow as tf
import torch
from ai_edge_litert import schema_py_generated as schema
from coreai_torch import TorchConverter, get_decomp_table
from coremltools.converters.mil import Builder as mb  # noqa: N813 - its own name
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from distillfarm.compression import coreai_models, coreml_models

FOLDER = Path(__file__).parent
SHIPPED = FOLDER.parents[2] / "agent/distillfarm/agent/drivers/host/models"


class Graph(NamedTuple):
    """What an ONNX file is made of."""

    nodes: Sequence[onnx.NodeProto]
    inputs: Sequence[onnx.ValueInfoProto]
    outputs: Sequence[onnx.ValueInfoProto]
    weights: dict[str, np.ndarray]


def main() -> None:
    """Write every model."""
    SHIPPED.mkdir(exist_ok=True)
    write_onnx(SHIPPED / "tiny.onnx", tiny())
    image = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    np.savez(SHIPPED / "tiny.npz", allow_pickle=False, image=image)
    write_onnx(FOLDER / "cnn.onnx", cnn())
    write_onnx(FOLDER / "endless.onnx", endless())
    write_onnx(FOLDER / "growing.onnx", growing())
    write_onnx(FOLDER / "terabytes.onnx", terabytes())
    (SHIPPED / "tiny.tflite").write_bytes(tiny_tflite())
    coreml_models.write(tiny_coreml(), SHIPPED / "tiny.mlpackage.tar")
    coreai_models.write(coreai(Tiny(), "out", 8), SHIPPED / "tiny.aimodel.tar")
    coreai_models.write(coreai(Cnn(), "logits", 28), FOLDER / "cnn.aimodel.tar")
    (FOLDER / "cnn.tflite").write_bytes(cnn_tflite())
    (FOLDER / "crashing.tflite").write_bytes(crashing_tflite())


def write_onnx(path: Path, made: Graph) -> None:
    """One graph of opset 17 with its weights inside."""
    values = [numpy_helper.from_array(each, name) for name, each in made.weights.items()]
    graph = helper.make_graph(made.nodes, path.stem, made.inputs, made.outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def floats(name: str, *shape: int | str | None) -> onnx.ValueInfoProto:
    """A float32 input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def tiny() -> Graph:
    """A convolution and an activation."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["out"]),
    ]
    weight = np.linspace(-1, 1, 9, dtype=np.float32).reshape(1, 1, 3, 3)
    return Graph(
        nodes, [floats("image", 1, 1, 8, 8)], [floats("out", 1, 1, 6, 6)], {"weight": weight}
    )


def tiny_coreml() -> Any:
    """The same for Core ML from iOS 16 on, a ``coremltools.models.MLModel``."""
    weight = np.linspace(-1, 1, 9, dtype=np.float32).reshape(1, 1, 3, 3)

    @mb.program(  # type: ignore[untyped-decorator]
        input_specs=[mb.TensorSpec(shape=(1, 1, 8, 8))], opset_version=coremltools.target.iOS16
    )
    def program(image: Any) -> Any:
        return mb.relu(x=mb.conv(x=image, weight=weight, pad_type="valid"), name="out")

    return coremltools.convert(
        program,
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS16,
    )


def weights_of_cnn() -> dict[str, np.ndarray]:
    """Random but fixed weights."""
    noise = np.random.default_rng(7)
    shapes = {"w1": (16, 1, 3, 3), "w2": (32, 16, 3, 3), "w3": (32, 10)}
    return {name: (noise.standard_normal(s) / 4).astype(np.float32) for name, s in shapes.items()}


def cnn() -> Graph:
    """Two convolutions, pooling and a classifier, for a free number of 28x28 images."""
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["logits"]),
    ]
    inputs, outputs = [floats("image", "batch", 1, 28, 28)], [floats("logits", "batch", 10)]
    return Graph(nodes, inputs, outputs, weights_of_cnn())


class Tiny(torch.nn.Module):
    """The same as ``tiny``."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image: float32 [1, 1, 8, 8]."""
        return functional.relu(functional.conv2d(image, torch.linspace(-1, 1, 9).view(1, 1, 3, 3)))


class Cnn(torch.nn.Module):
    """The same as ``cnn`` for one image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image: float32 [1, 1, 28, 28]."""
        weights = {name: torch.from_numpy(each) for name, each in weights_of_cnn().items()}
        hidden = functional.relu(functional.conv2d(image, weights["w1"], padding=1))
        hidden = functional.relu(functional.conv2d(hidden, weights["w2"], padding=1))
        return hidden.mean((2, 3)) @ weights["w3"]


def coreai(module: torch.nn.Module, output: str, size: int) -> Any:
    """A ``coreai.authoring.AIProgram`` of a module that takes one image."""
    program = torch.export.export(module, (torch.zeros(1, 1, size, size),))
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converter.add_exported_program(
        program.run_decompositions(get_decomp_table()),
        input_names=["image"],
        output_names=[output],
    )
    return converter.to_coreai()


def loop_of(
    body_nodes: Sequence[onnx.NodeProto], state: onnx.ValueInfoProto, last: onnx.ValueInfoProto
) -> Graph:
    """A Loop that says of itself that it never ends."""
    body = helper.make_graph(
        body_nodes,
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            state,
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), last],
    )
    nodes = [helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)]
    weights = {"turns": np.array(2**62, np.int64), "yes": np.array(True)}
    return Graph(nodes, [floats("x", None)], [floats("y", None)], weights)


def endless() -> Graph:
    """A loop that adds for ever."""
    nodes = [
        helper.make_node("Identity", ["go"], ["go_on"]),
        helper.make_node("Add", ["v", "v"], ["v_out"]),
    ]
    return loop_of(nodes, floats("v", None), floats("v_out", None))


def growing() -> Graph:
    """A loop whose state becomes twice as large at every turn."""
    nodes = [
        helper.make_node("Identity", ["go"], ["go_on"]),
        helper.make_node("Concat", ["v", "v"], ["v_out"], axis=0),
    ]
    return loop_of(nodes, floats("v", None), floats("v_out", None))


def terabytes() -> Graph:
    """A tensor of 4 TiB in a few bytes of file."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["sum"]),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    weights = {"shape": np.array([2**40], np.int64)}
    return Graph(nodes, [floats("x", 1)], [floats("y", 1)], weights)


def tiny_tflite() -> bytes:
    """The same as ``tiny``, channels last."""
    weight = tf.reshape(tf.linspace(-1.0, 1.0, 9), (3, 3, 1, 1))

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def run(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"out": tf.nn.relu(tf.nn.conv2d(image, weight, 1, "VALID"))}

    return to_tflite(run)


def cnn_tflite() -> bytes:
    """The same as ``cnn`` for one image, channels last."""
    weights = weights_of_cnn()
    first, second = (tf.transpose(weights[name], (2, 3, 1, 0)) for name in ("w1", "w2"))

    @tf.function(input_signature=[tf.TensorSpec((1, 28, 28, 1), tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def run(image: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden = tf.nn.relu(tf.nn.conv2d(image, first, 1, "SAME"))
        hidden = tf.nn.relu(tf.nn.conv2d(hidden, second, 1, "SAME"))
        return {"logits": tf.reduce_mean(hidden, (1, 2)) @ weights["w3"]}

    return to_tflite(run)


def crashing_tflite() -> bytes:
    """A loop whose body is the graph that it stands in: LiteRT's stack overflows, SIGSEGV."""

    @tf.function(input_signature=[tf.TensorSpec((1,), tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def run(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda v: v[0] < 10.0, lambda v: (v + 1.0,), (x,))[0]

    model = schema.ModelT.InitFromPackedBuf(to_tflite(run), 0)
    model.subgraphs[0].operators[0].builtinOptions.bodySubgraphIndex = 0
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def to_tflite(function: tf.types.experimental.GenericFunction) -> bytes:
    """Convert, with the signature's names."""
    module = tf.Module()
    module.run = function
    concrete = function.get_concrete_function()
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())


if __name__ == "__main__":
    main()
