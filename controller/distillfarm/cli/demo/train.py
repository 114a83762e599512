"""Trains the demonstration's teacher; a program of its own, so that the command line stays light.

``python -m distillfarm.cli.demo.train DATA.npz TEACHER.pt EPOCHS`` prints ``TrainingProgress`` as
JSON lines. It trains on the part of the data that studies train on too, so that nobody has seen
the samples that studies judge by.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from distillfarm.cli.demo.progress import TrainingProgress
from distillfarm.cli.demo.teacher import build
from distillfarm.compression.datasets import Samples, load_for_passes
from distillfarm.domain.model import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec("image", "float32", (-1, 1, 28, 28)),),
    outputs=(TensorSpec("logits", "float32", (-1, 10)),),
)
SPLIT_SEED = 0
_BATCH = 128
_THREADS = 2
"""As many everywhere, for the weights depend on it."""
_PEAK_LEARNING_RATE = 3e-3
_REPORT_EVERY_S = 0.5


def train(
    data: Path, destination: Path, report: Callable[[TrainingProgress], None], epochs: int
) -> float:
    """Train, save the state dict; gives the accuracy on the selection split."""
    torch.set_num_threads(_THREADS)
    torch.manual_seed(0)
    parts = load_for_passes(data, SIGNATURE, SPLIT_SEED)
    model = build()
    images, labels = _tensors(parts.train)
    steps = len(images) // _BATCH
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _PEAK_LEARNING_RATE, total_steps=epochs * steps
    )
    accuracy, reported_s = 0.0, 0.0
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(images))
        for step in range(steps):
            rows = order[step * _BATCH : (step + 1) * _BATCH]
            loss = functional.cross_entropy(model(_augmented(images[rows])), labels[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if time.monotonic() - reported_s > _REPORT_EVERY_S:
                reported_s = time.monotonic()
                done = (epoch + step / steps) / epochs
                report(
                    TrainingProgress(done, f"epoch {epoch + 1} of {epochs}, loss {loss.item():.3f}")
                )
        accuracy = _accuracy(model, parts.selection)
        text = f"epoch {epoch + 1} of {epochs}, accuracy {accuracy * 100:.1f} %"
        report(TrainingProgress((epoch + 1) / epochs, text))
    torch.save(model.state_dict(), destination)
    return accuracy


def _augmented(images: Tensor) -> Tensor:
    """Shoes and bags face either way."""
    return images.flip(3) if torch.rand(()) < 0.5 else images  # noqa: PLR2004  every other batch


def _accuracy(model: nn.Module, samples: Samples) -> float:
    model.eval()
    images, labels = _tensors(samples)
    with torch.inference_mode():
        right = (model(images).argmax(1) == labels).float()
    return float(right.mean())


def _tensors(samples: Samples) -> tuple[Tensor, Tensor]:
    image = torch.from_numpy(samples.inputs["image"])
    return image, torch.from_numpy(samples.labels)


def _print(progress: TrainingProgress) -> None:
    sys.stdout.write(msgspec.json.encode(progress).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), _print, int(sys.argv[3]))
