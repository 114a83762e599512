"""What a model file is made of, to tell a pass that did something from one that did nothing."""

from collections import Counter
from pathlib import Path

from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import ModelFormat


def census(model: WorkingModel) -> tuple[str, ...]:
    """Sorted counts of operators and of the types of tensors, such as ``Conv 3``.

    Empty for formats that no pass shrinks in place.
    """
    match model.format:
        case ModelFormat.ONNX:
            found = _onnx(model.path)
        case ModelFormat.TFLITE:
            found = _tflite(model.path)
        case ModelFormat.COREML:
            from distillfarm.compression import coreml_models

            found = coreml_models.census(model.path)
        case ModelFormat.EXECUTORCH:
            found = _executorch(model.path)
        case ModelFormat.TORCH_EXPORT:
            found = _program(model.path)
        case _:
            found = Counter()
    return tuple(sorted(f"{name} {count}" for name, count in found.items()))


def _onnx(path: Path) -> Counter[str]:
    import onnx

    graph = onnx.load(path).graph
    operators = Counter(node.op_type for node in graph.node)
    types = Counter(
        onnx.TensorProto.DataType.Name(each.data_type).lower() for each in graph.initializer
    )
    return operators + types


def _tflite(path: Path) -> Counter[str]:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(str(path))
    operators = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    types = {code: name for name, code in vars(schema.TensorType).items()}
    found: Counter[str] = Counter()
    for graph in model.subgraphs:
        for each in graph.operators:
            found[operators[model.operatorCodes[each.opcodeIndex].builtinCode]] += 1
        for each in graph.tensors:
            found[types[each.type].lower()] += 1
    return found


def _executorch(path: Path) -> Counter[str]:
    """Operators that run in portable kernels, and the parts that a delegate took."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    found: Counter[str] = Counter()
    for plan in deserialize_pte_binary(path.read_bytes()).program.execution_plan:
        for call in (each.instr_args for chain in plan.chains for each in chain.instructions):
            if hasattr(call, "op_index"):
                found[plan.operators[call.op_index].name] += 1
            elif hasattr(call, "delegate_index"):
                found[plan.delegates[call.delegate_index].id] += 1
    return found


def _program(path: Path) -> Counter[str]:
    from distillfarm.compression import torch_exports

    program = torch_exports.read(path)
    operators = Counter(
        str(node.target) for node in program.graph.nodes if node.op == "call_function"
    )
    types = Counter(str(each.dtype) for each in program.state_dict.values())
    return operators + types
