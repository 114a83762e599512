"""What is known of a model before it is touched: operators, costs, where they lie, what hurts."""

from collections import Counter
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import numpy as np

from distillfarm.compression.analysis.bottlenecks import Evidence, bottlenecks
from distillfarm.compression.analysis.layers import Facts, merged, sample_shape, worst_first
from distillfarm.compression.analysis.profile import Runs, Timed, timed_runs
from distillfarm.compression.analysis.roofline import measure_host
from distillfarm.compression.analysis.sensitivity import Question, Sensitivities, sensitivities
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import InvalidRequest, ModelRejected
from distillfarm.domain.model import Analysis, ModelFormat, OperatorCount, Signature
from distillfarm.sandbox.text import one_line

Report = Callable[[float, str], None]

_COUNTERS = {
    ModelFormat.KERAS: "keras",
    ModelFormat.ONNX: "onnx",
    ModelFormat.SAVED_MODEL: "saved_model",
    ModelFormat.TFLITE: "tflite",
    ModelFormat.TORCH_EXPORT: "torch",
    ModelFormat.TORCH_MODULE: "torch",
}
_PROFILERS = {
    ModelFormat.KERAS: "keras",
    ModelFormat.ONNX: "onnx_profile",
    ModelFormat.TORCH_EXPORT: "torch_profile",
    ModelFormat.TORCH_MODULE: "torch_profile",
}
_NO_PROFILER = {
    ModelFormat.SAVED_MODEL: "operators of a SavedModel are not timed one by one",
    ModelFormat.TFLITE: "LiteRT's Python interpreter has no profiler",
}
_MAX_OPERATOR_CHARACTERS = 60
_MAX_OPERATORS = 500
_MAX_LAYERS = 100
_COUNTED, _TIMED = 0.1, 0.3
_NOTHING = Sensitivities(())


def count(model: WorkingModel, threads: int = 1) -> Analysis:
    """Open ``model`` with its runtime, then count; only in a sandbox, on a model that was read.

    Raises:
        ModelRejected: the runtime cannot load it.
        MissingExtra: the runtime is not installed.
    """
    signature = open_model(model, threads).signature
    return _told(model, signature, _facts(model, signature))


def analyse(
    model: WorkingModel, threads: int, report: Report, question: Question | None = None
) -> Analysis:
    """Count as ``count`` does, time every layer, and with data ask how much each minds what.

    Raises:
        ModelRejected, MissingExtra: as for ``count``.
        InvalidRequest: the data do not fit the model.
    """
    report(0.0, "counting")
    signature = open_model(model, threads).signature
    facts = _facts(model, signature)
    report(_COUNTED, "timing the layers")
    timed = _timed(model, signature, threads)
    sensed = _NOTHING
    if question is not None and not timed.whole_us:
        sensed = Sensitivities((), "what techniques cost was not asked: the model does not run")
    elif question is not None:
        rest = 1 - _TIMED
        sensed = _sensed(
            model, signature, facts, question, lambda done, text: report(_TIMED + rest * done, text)
        )
    return _told(model, signature, facts, timed, sensed)


def _facts(model: WorkingModel, signature: Signature) -> Facts:
    found: Facts = _module(_COUNTERS[model.format]).facts(model, signature)
    return found


def _timed(model: WorkingModel, signature: Signature, threads: int) -> Timed:
    runs = Runs(threads=threads)
    try:
        if model.format not in _NO_PROFILER:
            found: Timed = _module(_PROFILERS[model.format]).times(model, signature, runs)
            return found
        predictor = open_model(model, threads)
        zeros = {
            each.name: np.zeros(sample_shape(each.shape), each.dtype) for each in signature.inputs
        }
        whole_us = timed_runs(lambda: predictor.run(zeros), runs)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  as in ``_sensed``
        return Timed({}, 0, (), "", missing=_what(error))
    return Timed({}, 0, whole_us, "", missing=_NO_PROFILER[model.format])


def _sensed(
    model: WorkingModel, signature: Signature, facts: Facts, question: Question, report: Report
) -> Sensitivities:
    try:
        return sensitivities(model, signature, facts.layers, question, report)
    except (InvalidRequest, MemoryError, OSError) as error:
        if not isinstance(error, ModelRejected):
            raise
        return Sensitivities((), f"no layer could be treated alone: {_what(error)}")
    except Exception as error:  # noqa: BLE001
        # Frameworks raise anything on somebody's model, and an analysis without this part is
        # worth more than none.
        return Sensitivities((), f"no layer could be treated alone: {_what(error)}")


def _what(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def _told(
    model: WorkingModel,
    signature: Signature,
    facts: Facts,
    timed: Timed | None = None,
    sensed: Sensitivities = _NOTHING,
) -> Analysis:
    batch = max(1, signature.inputs[0].shape[0])
    times_us = {name: each / batch for name, each in timed.layers_us.items()} if timed else {}
    layers = worst_first(merged(facts.layers, times_us))
    host = measure_host() if times_us else None
    return Analysis(
        format=model.format,
        signature=signature,
        size_bytes=model.path.stat().st_size,
        parameters=facts.parameters,
        macs=sum(each.macs for each in facts.layers),
        operators=_census(facts),
        dtypes=facts.dtypes,
        bottlenecks=bottlenecks(Evidence(facts, layers, host, sensed.found, sensed.left_out)),
        traffic_bytes=sum(each.moved_bytes for each in layers),
        layers=tuple(each.cost() for each in layers[:_MAX_LAYERS]),
        profile=timed.said() if timed else "",
        sensitivity=sensed.found,
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


def _module(name: str) -> ModuleType:
    return import_module(f"distillfarm.compression.analysis.{name}")
