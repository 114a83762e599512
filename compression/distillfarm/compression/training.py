"""Trains a module on labels and on a teacher's answers; the same seed gives the same weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distillfarm.compression.datasets import Samples, is_classes
from distillfarm.compression.protocols import PassRefused, Workspace
from distillfarm.compression.torch_models import TorchModel, named_outputs
from distillfarm.compression.zoo.modules import Student
from distillfarm.domain.variant import CurvePoint

_BATCH = 128
_WEIGHT_DECAY = 0.01
_TINY_PROBABILITY = 1e-7
_PROBABILITY_SLACK = 1e-3
_BATCHES_PER_REPORT = 20


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to train.

    ``soft_share`` 0..1 is the weight of the teacher's answers against the labels'; ``temperature``
    softens both sides' answers before they are compared.
    """

    epochs: int
    learning_rate: float
    temperature: float
    soft_share: float


@dataclass(frozen=True)
class Lesson:
    """What to learn: the training split, the teacher's output on it, and the selection split."""

    train: Samples
    teacher: Tensor
    selection: Samples


def default_epochs(visits: int, samples: int, most: int) -> int:
    """Epochs that show about ``visits`` samples in all, at least 4 and at most ``most``."""
    return min(most, max(4, round(visits / samples)))


def batches(samples: int) -> int:
    """Steps of the optimiser in an epoch; the last incomplete batch is left out."""
    return samples // min(_BATCH, samples)


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether every row is a distribution: the teacher ends in a softmax."""
    inside = bool((outputs >= 0).all() and (outputs <= 1).all())
    return inside and bool(np.abs(outputs.sum(axis=1) - 1).max() < _PROBABILITY_SLACK)


def begin(seed: int, threads: int) -> None:
    """Make what follows repeatable; call before weights are made."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def fit(
    model: TorchModel,
    lesson: Lesson,
    schedule: Schedule,
    workspace: Workspace,
    report: Callable[[float, str], None],
    *,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train ``model.module`` in place: AdamW under a one-cycle learning rate.

    The loss mixes cross-entropy on labels with the divergence from the teacher's softened answers
    (Hinton, Vinyals and Dean, arXiv:1503.02531, 2015); for regression both are squared errors.
    Every epoch adds a point to the learning curve. ``after_step`` is called after every step of the
    optimiser.

    Raises:
        PassRefused: the loss is not finite any more.
    """
    total = len(lesson.train)
    size = min(_BATCH, total)
    per_epoch = batches(total)
    optimiser = torch.optim.AdamW(
        model.module.parameters(), lr=schedule.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    pace = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, schedule.learning_rate, total_steps=schedule.epochs * per_epoch
    )
    inputs = _tensors(lesson.train, model)
    labels = torch.from_numpy(lesson.train.labels)
    loss_of = _Loss(model, lesson, schedule)
    generator = torch.Generator().manual_seed(workspace.seed)
    for epoch in range(1, schedule.epochs + 1):
        model.module.train()
        order = torch.randperm(total, generator=generator)
        losses = []
        for batch in range(per_epoch):
            rows = order[batch * size : (batch + 1) * size]
            loss = loss_of([each[rows] for each in inputs], lesson.teacher[rows], labels[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            if after_step is not None:
                after_step()
            pace.step()
            losses.append(float(loss.detach()))
            if batch % _BATCHES_PER_REPORT == 0:
                done = (epoch - 1 + batch / per_epoch) / schedule.epochs
                report(done, f"epoch {epoch} of {schedule.epochs}, loss {losses[-1]:.3f}")
        mean = float(np.mean(losses))
        if not np.isfinite(mean):
            raise PassRefused(
                f"the loss became {mean} in epoch {epoch}; lower learning_rate (now"
                f" {schedule.learning_rate:g})"
            )
        quality = _quality(model, lesson.selection)
        workspace.curve.append(CurvePoint(epoch, mean, quality))
        report(epoch / schedule.epochs, f"epoch {epoch}: selection quality {quality:.4f}")
    model.module.eval()


class _Loss:
    """Loss of one batch; classes lie along dimension 1."""

    def __init__(self, model: TorchModel, lesson: Lesson, schedule: Schedule) -> None:
        self._model = model
        self._schedule = schedule
        self._classes = lesson.train.labels.dtype == np.int64
        self._probabilities = self._classes and are_probabilities(lesson.teacher.numpy())

    def __call__(self, inputs: Sequence[Tensor], teacher: Tensor, labels: Tensor) -> Tensor:
        answer = self._answer(inputs)
        share = self._schedule.soft_share
        if not self._classes:
            target = labels.to(answer.dtype).reshape(answer.shape)
            return share * functional.mse_loss(answer, teacher) + (1 - share) * functional.mse_loss(
                answer, target
            )
        hard = functional.cross_entropy(answer, labels)
        return share * self._divergence(answer, teacher) + (1 - share) * hard

    def _answer(self, inputs: Sequence[Tensor]) -> Tensor:
        module = self._model.module
        if isinstance(module, Student):
            return module.logits(*inputs)
        answer = named_outputs(module(*inputs), self._model.spec.signature)[0]
        return self._logits(answer)

    def _divergence(self, answer: Tensor, teacher: Tensor) -> Tensor:
        heat = self._schedule.temperature
        soft = functional.kl_div(
            functional.log_softmax(answer / heat, dim=1),
            functional.log_softmax(self._logits(teacher) / heat, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        # Gradients shrink with the square of the temperature; keep the two parts comparable.
        return soft * heat * heat

    def _logits(self, answer: Tensor) -> Tensor:
        return answer.clamp_min(_TINY_PROBABILITY).log() if self._probabilities else answer


def _quality(model: TorchModel, selection: Samples) -> float:
    """Accuracy on the selection split; for other targets minus the mean squared error."""
    model.module.eval()
    inputs = _tensors(selection, model)
    parts = []
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(selection)), 512):
            answer = model.module(*(each[rows] for each in inputs))
            parts.append(named_outputs(answer, model.spec.signature)[0])
    answers = torch.cat(parts)
    labels = torch.from_numpy(selection.labels)
    if is_classes(selection.labels):
        return float((answers.argmax(dim=1) == labels).float().mean())
    return -float(functional.mse_loss(answers, labels.to(answers.dtype).reshape(answers.shape)))


def _tensors(samples: Samples, model: TorchModel) -> list[Tensor]:
    return [torch.from_numpy(samples.inputs[each.name]) for each in model.spec.signature.inputs]
