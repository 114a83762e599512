"""How much faster a file answers than the FP32 file, both timed in turns in one process."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from distillfarm.domain.interval import Interval
from distillfarm.domain.model import ModelFormat

Infer = Callable[[], object]
_BLOCK_S = 0.004
_WARM_UP_S = 0.05
_Z = 1.959963984540054  # 95 %, two-sided


def loaded(path: Path, form: ModelFormat, inputs: Mapping[str, NDArray[np.generic]]) -> Infer:
    """One inference of one sample, with one thread and its inputs in place."""
    if form is ModelFormat.ONNX:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for output in session.get_outputs():
            binding.bind_output(output.name, "cpu")
        return lambda: session.run_with_iobinding(binding)
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        # Names differ between a file's signature and its tensors; there is one input.
        (array,) = inputs.values()
        interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
    invoke: Infer = interpreter.invoke  # keeps the interpreter alive
    return invoke


def faster(base: Infer, other: Infer, rounds: int) -> tuple[Interval, float]:
    """How many times ``other`` is faster, and its milliseconds.

    Blocks of inferences alternate, and which goes first too. The value is the median of the ratios
    of neighbouring blocks, so that a computer that changes its speed changes both sides of a ratio;
    bounds are order statistics, 95 % for a median.
    """
    counts = [_inferences(each) for each in (base, other)]
    samples: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds):
        for side in (0, 1) if index % 2 else (1, 0):
            infer, count = (base, other)[side], counts[side]
            began = time.perf_counter()
            for _ in range(count):
                infer()
            samples[side].append((time.perf_counter() - began) / count)
    ratios = sorted(one / two for one, two in zip(*samples, strict=True))
    half = _Z * rounds**0.5 / 2
    low, high = max(0, int(rounds / 2 - half)), min(rounds - 1, int(rounds / 2 + half))
    interval = Interval(statistics.median(ratios), ratios[low], ratios[high])
    return interval, 1e3 * statistics.median(samples[1])


def _inferences(infer: Infer) -> int:
    """How many make a block, known after warming up."""
    began, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - began < _WARM_UP_S:
        infer()
        count += 1
    return max(1, round(_BLOCK_S * count / (time.perf_counter() - began)))
