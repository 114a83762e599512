"""One launch, from the process start to its last raw sample."""

import gc
import importlib
import time
from collections.abc import Callable
from typing import NamedTuple

from distillfarm.agent.program import loop, memory
from distillfarm.agent.program.model import BadInputs, OutOfMemory, Refused, runtime_failure
from distillfarm.agent.program.order import Order

Say = Callable[..., None]
"""Takes an ``event`` and what belongs to it, by name; see ``runners.reports``."""


class _Runtime(NamedTuple):
    """A runtime's module and class here, and the installed packages that it loads."""

    module: str
    model: str
    packages: tuple[str, ...]


_RUNTIMES = {
    "onnxruntime": _Runtime("onnxruntime_model", "OnnxModel", ("onnxruntime", "numpy")),
    "litert": _Runtime("litert_model", "LitertModel", ("ai_edge_litert", "numpy")),
    "coreai": _Runtime("coreai_model", "CoreAiModel", ("coreai", "numpy")),
}
# Values of ``domain.job.ColdStart``, which is not loaded here; the third is between them.
_WARMEST, _COLDEST = "new_process", "first_ever"


class _RuntimeMissing(Exception):
    """The runtime is not installed here, or its libraries do not load."""


def answer(order: Order, launched_ns: int, say: Say) -> None:
    """Run the order and say what happens; the last event is how it ended.

    ``launched_ns`` is when the process was launched, by the clock of ``time.perf_counter_ns``.
    """
    try:
        _launch(order, launched_ns, say)
    except Refused as error:
        say(event="refused", reason=str(error))
    except (OutOfMemory, MemoryError) as error:
        say(event="out_of_memory", reason=str(error) or "allocation refused")
    except BadInputs as error:
        say(event="bad_inputs", reason=str(error))
    except _RuntimeMissing as error:
        say(event="missing", reason=str(error))


def _launch(order: Order, launched_ns: int, say: Say) -> None:
    """Caches, runtime, model, first inference, warm-up, samples, evidence; in this order."""
    clock = time.perf_counter_ns
    runtime = _RUNTIMES.get(order.runtime)
    if runtime is None:
        raise _RuntimeMissing(f"this program knows {', '.join(_RUNTIMES)}, not {order.runtime}")

    ours_ns = clock()  # what only the measuring needs is left out of the time to first output
    page_cache_resident = _chill(order, runtime)
    begin_ns = clock()
    ours_ns = begin_ns - ours_ns
    try:
        module = importlib.import_module(f"distillfarm.agent.program.{runtime.module}")
    except ImportError as error:
        raise _RuntimeMissing(str(error)) from error
    runtime_ns = clock() - begin_ns

    imported_ns = clock()
    baseline_bytes = memory.peak_bytes()
    say(event="runtime", version=module.VERSION, runtime_ns=runtime_ns)

    begin_ns = clock()
    ours_ns += begin_ns - imported_ns
    model = getattr(module, runtime.model)(order.model, order.delegate, order.threads)
    loaded_ns = clock()
    loaded_bytes = memory.peak_bytes()
    say(event="loaded", load_ns=loaded_ns - begin_ns)

    from distillfarm.agent.program import arrays  # noqa: PLC0415 - NumPy is part of the runtime

    cases = arrays.cases(model.inputs(), arrays.read(order.inputs), arrays.read(order.expected))
    ours_ns += clock() - loaded_ns
    invoke = model.bind(cases[0].inputs)
    try:
        first_ns = clock()
        invoke()
        done_ns = clock()
        errors = arrays.compare(model.outputs(), cases[0].expected)
        say(event="first", first_inference_ns=done_ns - first_ns)
        gc.collect()
        gc.disable()
        warmup_ns = loop.warm_up(invoke, order.max_warmup)
        sampling_ns = clock()
        samples_ns, inferences = loop.sample(
            invoke,
            max(order.iterations, order.least),
            order.max_sampling_s,
            order.least,
            order.kept,
        )
        sampled_ns = clock()
        peak_bytes, resident_bytes = memory.peak_bytes(), memory.resident_bytes()
        for case in cases[1:]:
            model.bind(case.inputs)()
            errors += arrays.compare(model.outputs(), case.expected)
    except module.FAILURES as error:
        raise runtime_failure(error) from error

    say(
        event="finished",
        first_output_ns=done_ns - launched_ns - ours_ns,
        runtime_ns=runtime_ns,
        load_ns=loaded_ns - begin_ns,
        first_inference_ns=done_ns - first_ns,
        warmup_ns=warmup_ns,
        samples_ns=samples_ns,
        inferences=inferences,
        sampling_began_ns=sampling_ns,
        sampling_ended_ns=sampled_ns,
        memory={
            "peak_method": memory.PEAK_METHOD,
            "baseline_bytes": baseline_bytes,
            "loaded_bytes": loaded_bytes,
            "peak_bytes": peak_bytes,
            "resident_method": memory.RESIDENT_METHOD if resident_bytes is not None else "",
            "resident_bytes": resident_bytes,
        },
        placements=[each._asdict() for each in model.placements()],
        errors=[each._asdict() for each in arrays.worst(errors)],
        version=module.VERSION,
        cold_start=order.cold,
        page_cache_resident=page_cache_resident,
    )


def _chill(order: Order, runtime: _Runtime) -> float | None:
    """Make the start as cold as ordered; the share of pages that stayed, None if not to be known.

    Python itself and its standard library stay warm: this program ran them already.
    """
    if order.cold == _WARMEST:
        return None
    from distillfarm.agent.program import page_cache  # noqa: PLC0415 - nothing else loads ctypes

    if order.cold == _COLDEST and order.cache:
        page_cache.empty(order.cache)
    return page_cache.drop([order.model, *page_cache.libraries(runtime.packages)])
