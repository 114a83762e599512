"""What is known of a model before it is touched: operators, costs, and where they lie."""

from collections import Counter
from collections.abc import Callable
from importlib import import_module

from distillfarm.compression.analysis.bottlenecks import bottlenecks
from distillfarm.compression.analysis.layers import Facts
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Analysis, ModelFormat, OperatorCount, Signature
from distillfarm.sandbox.text import one_line

_COUNTERS = {
    ModelFormat.KERAS: "keras",
    ModelFormat.ONNX: "onnx",
    ModelFormat.SAVED_MODEL: "saved_model",
    ModelFormat.TFLITE: "tflite",
    ModelFormat.TORCH_EXPORT: "torch",
    ModelFormat.TORCH_MODULE: "torch",
}
_MAX_OPERATOR_CHARACTERS = 60
_MAX_OPERATORS = 500


def analyse(model: WorkingModel, threads: int = 1) -> Analysis:
    """Open ``model`` with its runtime, then count; only in a sandbox, on a model that was read.

    Raises:
        ModelRejected: the runtime cannot load it.
        MissingExtra: the runtime is not installed.
    """
    signature = open_model(model, threads).signature
    module = import_module(f"distillfarm.compression.analysis.{_COUNTERS[model.format]}")
    count: Callable[[WorkingModel, Signature], Facts] = module.facts
    found = count(model, signature)
    return Analysis(
        format=model.format,
        signature=signature,
        size_bytes=model.path.stat().st_size,
        parameters=found.parameters,
        macs=sum(each.macs for each in found.layers),
        operators=_census(found),
        dtypes=found.dtypes,
        bottlenecks=bottlenecks(found),
    )


def _census(found: Facts) -> tuple[OperatorCount, ...]:
    counts: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    for each in found.layers:
        name = one_line(each.operator, _MAX_OPERATOR_CHARACTERS)
        counts[name] += 1
        macs[name] += each.macs
    order = sorted(counts, key=lambda name: (-macs[name], -counts[name], name))[:_MAX_OPERATORS]
    return tuple(OperatorCount(name, counts[name], macs[name]) for name in order)
