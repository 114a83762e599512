"""Trains an FP32 teacher for a workload, once."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from distillfarm.compression.datasets import Samples, load_for_passes
from techniques import teachers
from techniques.workloads import Workload

FACTORIES = Path(teachers.__file__)
SPLIT_SEED = 0
_WEIGHT_DECAY = 0.3
Report = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A workload's files; ``train_s`` is 0 where the teacher was there already."""

    workload: Workload
    data: Path
    weights: Path
    parameters: int
    train_s: float


def prepared(workload: Workload, cache: Path, report: Report) -> Trained:
    """The workload's data and its trained teacher, both found in ``cache`` the next time."""
    data = cache / f"{workload.name}.npz"
    if not data.exists():
        report("data")
        workload.data(cache, data)
    parts = load_for_passes(data, workload.signature, SPLIT_SEED)
    torch.manual_seed(0)
    module: nn.Module = getattr(teachers, workload.factory)()
    parameters = sum(each.numel() for each in module.parameters())
    weights = cache / f"{workload.name}-{_decided_by(workload, parts.train)}.pt"
    if weights.exists():
        return Trained(workload, data, weights, parameters, 0.0)
    seconds = _train(module, workload, parts.train, parts.selection, report)
    torch.save(module.state_dict(), weights)
    return Trained(workload, data, weights, parameters, seconds)


def _decided_by(workload: Workload, train: Samples) -> str:
    """Changes with everything that decides the teacher's weights."""
    course = f"{workload.factory} {workload.epochs} {workload.batch} {workload.learning_rate}"
    digest = hashlib.sha256(course.encode())
    for content in (FACTORIES.read_bytes(), Path(__file__).read_bytes()):
        digest.update(content)
    for array in (*train.inputs.values(), train.labels):
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def _train(
    module: nn.Module,
    workload: Workload,
    train: Samples,
    selection: Samples,
    report: Report,
) -> float:
    """Train in place on one thread, on hard labels; gives the seconds."""
    torch.set_num_threads(1)
    started = time.monotonic()
    inputs, labels = _tensors(train, workload)
    steps = len(labels) // workload.batch
    optimiser = torch.optim.AdamW(
        module.parameters(), workload.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    pace = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, workload.learning_rate, total_steps=workload.epochs * steps
    )
    for epoch in range(workload.epochs):
        module.train()
        order = torch.randperm(len(labels))
        for step in range(steps):
            rows = order[step * workload.batch : (step + 1) * workload.batch]
            loss = functional.cross_entropy(module(_augmented(inputs[rows])), labels[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            pace.step()
        module.eval()
        given, wanted = _tensors(selection, workload)
        with torch.inference_mode():
            answers = torch.cat([module(each) for each in torch.split(given, 256)])
        right = float((answers.argmax(1) == wanted).float().mean())
        report(f"teacher, epoch {epoch + 1} of {workload.epochs}, accuracy {100 * right:.1f}")
    return time.monotonic() - started


def _augmented(inputs: Tensor) -> Tensor:
    """Shoes and bags face either way: every other batch of images is mirrored."""
    return inputs.flip(3) if inputs.ndim == 4 and torch.rand(()) < 0.5 else inputs


def _tensors(samples: Samples, workload: Workload) -> tuple[Tensor, Tensor]:
    given: NDArray[np.generic] = samples.inputs[workload.signature.inputs[0].name]
    return torch.from_numpy(given), torch.from_numpy(samples.labels)
