"""What every ONNX quantiser needs done before and after, and the count of what it reached."""

from collections import Counter
from pathlib import Path

import onnx
from onnx import GraphProto, TensorProto, version_converter
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process

# DequantizeLinear has an axis, which per-channel weights need, since this version of ONNX.
_PER_CHANNEL_OPSET = 13
_MATRIX = 2
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
# Their float inputs are scales.
_QUANTISED = frozenset(
    {"DequantizeLinear", "DynamicQuantizeLSTM", "GatherBlockQuantized", "MatMulNBits"}
)
_BRANCH = "a branch of {}"


def prepared(source: Path, folder: Path, opset: int = _PER_CHANNEL_OPSET) -> Path:
    """A copy with shapes inferred and constants folded, as ONNX Runtime's quantisers want it.

    It is in version ``opset`` of the operators, or a later one.

    Folding turns what exporters leave between a weight and its use (Constant nodes, transposes,
    reshapes, casts) into initialisers, the only weights that the quantisers see. Every node gets
    a name of its own, by which it can be left out.
    """
    model = onnx.load(source)
    version = max((each.version for each in model.opset_import if each.domain == ""), default=0)
    if 0 < version < opset:
        source = folder / "newer.onnx"
        onnx.save(version_converter.convert_version(model, opset), source)
    path = folder / "prepared.onnx"
    quant_pre_process(source, path, skip_symbolic_shape=True)
    _named(path)
    return path


def with_matmuls(path: Path) -> Path:
    """The file with each Gemm as MatMul and Add, which more quantisers have kernels for."""
    model = ONNXModel(onnx.load(path))
    model.replace_gemm_with_matmul()
    model.clean_initializers()
    changed = path.with_name("matmuls.onnx")
    onnx.save(model.model, changed)
    _named(changed)
    return changed


def float_weights(path: Path) -> Counter[str]:
    """How many numbers of float matrices each operator reads, those inside branches apart."""
    return _weights(onnx.load(path).graph, "")


def tidy(path: Path) -> None:
    """Drop what varies from run to run or names the builder's folders: notes and traces."""
    model = onnx.load(path)
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for side in (model.graph.input, model.graph.output, model.graph.initializer):
        for each in side:
            del each.metadata_props[:]
    onnx.save(model, path)


def _named(path: Path) -> None:
    model = onnx.load(path)
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{index}"
        seen.add(node.name)
    onnx.save(model, path)


def _weights(graph: GraphProto, place: str) -> Counter[str]:
    sizes = {
        each.name: int(onnx.numpy_helper.to_array(each).size)
        for each in graph.initializer
        if each.data_type in _FLOATS and len(each.dims) >= _MATRIX
    }
    found: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in _QUANTISED:
            continue
        # A weight that two nodes share counts once.
        found[place or node.op_type] += sum(sizes.pop(name, 0) for name in node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _weights(attribute.g, place or _BRANCH.format(node.op_type))
    return +found
