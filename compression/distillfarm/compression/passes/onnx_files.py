"""What every ONNX quantiser needs done before and after."""

from pathlib import Path

import onnx
from onnx import version_converter
from onnxruntime.quantization.shape_inference import quant_pre_process

# DequantizeLinear has an axis, which per-channel weights need, since this version of ONNX.
_PER_CHANNEL_OPSET = 13


def prepared(source: Path, folder: Path) -> Path:
    """A copy with shapes inferred and constants folded, as ONNX Runtime's quantisers want it."""
    model = onnx.load(source)
    version = max((each.version for each in model.opset_import if each.domain == ""), default=0)
    if 0 < version < _PER_CHANNEL_OPSET:
        source = folder / "newer.onnx"
        onnx.save(version_converter.convert_version(model, _PER_CHANNEL_OPSET), source)
    path = folder / "prepared.onnx"
    quant_pre_process(source, path, skip_symbolic_shape=True)
    return path


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
