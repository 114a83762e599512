"""Times a PyTorch model layer by layer with PyTorch's own profiler."""

from collections import defaultdict

import torch
from torch.profiler import ProfilerActivity, profile

from distillfarm.compression.analysis.profile import Runs, Timed, middle, timed_runs
from distillfarm.compression.analysis.torch import listening
from distillfarm.compression.analysis.torch_subject import Subject, run, subject
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.model import Signature

_MARK = "distillfarm layer "


def times(model: WorkingModel, signature: Signature, runs: Runs) -> Timed:
    """Microseconds by layer for one batch, in PyTorch's own profile."""
    return clock(subject(model), signature, runs)


def clock(model: Subject, signature: Signature, runs: Runs) -> Timed:
    """Microseconds by layer: kernels as torch.profiler times them.

    The listener marks every operator with its layer; only the time of the kernel below that mark
    counts, so that listening costs nothing.

    Raises:
        ModelRejected: it does not run.
    """
    whole_us = timed_runs(lambda: run(model, signature), runs)
    count = runs.profiled(len(whole_us))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for index in range(count):
            with listening(model, f"{_MARK}{index} "):
                run(model, signature)
    samples: list[dict[str, float]] = [defaultdict(float) for _ in range(count)]
    for event in profiler.events() or ():
        if event.name.startswith(_MARK):
            index, name = event.name.removeprefix(_MARK).split(" ", 1)
            samples[int(index)][name] += sum(each.cpu_time_total for each in event.cpu_children)
    return Timed(middle(samples), len(samples), whole_us, f"torch.profiler {torch.__version__}")
