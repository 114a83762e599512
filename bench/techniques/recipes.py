"""Which recipes are tried on which workload: each technique alone, then together."""

from dataclasses import dataclass

ONNX, LITERT = "onnxruntime", "litert"
ORIGINAL = "original"


@dataclass(frozen=True)
class Try:
    """A recipe for a runtime; ``quick`` marks those of a smoke run."""

    recipe: str
    runtime: str
    quick: bool = False


_STUDENT = "distill(student=zoo,width=0.75)"
_PRUNED_STUDENT = "distill(student=zoo,width=1)+prune(ratio=0.5)"
_SMALL_ENCODER = "distill(depth=1,width=0.5)"
_SMALL_GRU = "distill(depth=1,width=0.75)"

_VISION = (
    Try(ORIGINAL, ONNX, quick=True),
    Try("fp16", ONNX),
    Try("int8_dynamic", ONNX),
    Try("int8_static", ONNX, quick=True),
    Try("int8_static(weights=tensor)", ONNX),
    Try("int4", ONNX),
    Try("mixed(limit=0.5)", ONNX),
    Try("qat+int8_static", ONNX),
    Try("distill(width=0.5)", ONNX),
    Try("distill(features=1,width=0.5)", ONNX),
    Try("prune(ratio=0.5)", ONNX),
    Try("low_rank", ONNX),
    Try("sparsify(ratio=0.8)", ONNX),
    Try("cluster(bits=4)", ONNX),
    Try("prune(ratio=0.5)+int8_static", ONNX),
    Try("sparsify(ratio=0.8)+int8_static", ONNX),
    Try("distill(soft_share=0,student=zoo,width=0.75)", ONNX),
    Try(_STUDENT, ONNX),
    Try(f"{_STUDENT}+int8_static", ONNX, quick=True),
    Try(f"{_STUDENT}+qat+int8_static", ONNX),
    Try(f"{_PRUNED_STUDENT}+int8_static", ONNX),
    Try(ORIGINAL, LITERT, quick=True),
    Try("fp16", LITERT),
    Try("int8_dynamic", LITERT),
    Try("int8_static", LITERT, quick=True),
    Try("int4", LITERT),
    Try("qat(bits=4,runtime=litert)+int4", LITERT),
    Try(f"{_STUDENT}+int8_static", LITERT, quick=True),
    Try(f"{_STUDENT}+int8_dynamic", LITERT),
    Try(f"{_PRUNED_STUDENT}+int8_static", LITERT),
)

_TEXT = (
    Try(ORIGINAL, ONNX, quick=True),
    Try("fp16", ONNX),
    Try("int8_dynamic", ONNX, quick=True),
    Try("int8_static", ONNX),
    Try("int4", ONNX),
    Try("mixed(technique=int4)", ONNX),
    Try("qat+int8_static", ONNX),
    Try("distill(depth=1,soft_share=0,width=0.5)", ONNX),
    Try(_SMALL_ENCODER, ONNX),
    Try("distill(attention=1,depth=1,features=1,width=0.5)", ONNX),
    Try("prune(ratio=0.5)", ONNX),
    Try("low_rank(rank=ratio)", ONNX),
    Try("sparsify(ratio=0.8,scope=layer)", ONNX),
    Try("cluster(bits=4)", ONNX),
    Try("low_rank(rank=ratio)+int8_dynamic", ONNX),
    Try(f"{_SMALL_ENCODER}+int8_dynamic", ONNX, quick=True),
    Try(f"{_SMALL_ENCODER}+int4", ONNX),
    Try(ORIGINAL, LITERT),
    Try("fp16", LITERT),
    Try("int8_dynamic", LITERT),
    Try("int8_static", LITERT),
    Try("int4", LITERT),
    Try("int4(block=256)", LITERT),
    Try(f"{_SMALL_ENCODER}+int8_dynamic", LITERT),
    Try(f"{_SMALL_ENCODER}+int8_static", LITERT),
)

_SEQUENCE = (
    Try(ORIGINAL, ONNX, quick=True),
    Try("fp16", ONNX),
    Try("int8_dynamic", ONNX),
    Try("int8_static", ONNX),
    Try("int4", ONNX),
    Try("mixed", ONNX),
    Try("qat+int8_static", ONNX),
    Try("distill(width=0.5)", ONNX),
    Try("distill(features=1,width=0.5)", ONNX),
    Try(_SMALL_GRU, ONNX),
    Try("prune(ratio=0.5)", ONNX),
    Try("low_rank", ONNX),
    Try("sparsify(ratio=0.8)", ONNX),
    Try("cluster(bits=4)", ONNX),
    Try("distill(features=1,width=0.5)+fp16", ONNX),
    Try(f"{_SMALL_GRU}+fp16", ONNX, quick=True),
    Try(ORIGINAL, LITERT),
    Try("fp16", LITERT),
    Try("int8_dynamic", LITERT),
    Try("int8_static", LITERT),
    Try("int4", LITERT),
    Try(f"{_SMALL_GRU}+int8_dynamic", LITERT),
    Try(f"{_SMALL_GRU}+int4", LITERT),
)

RECIPES = {"vision": _VISION, "text": _TEXT, "sequence": _SEQUENCE}
