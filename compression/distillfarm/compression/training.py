"""Trains a module on labels and on a teacher's answers; the same seed gives the same weights."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distillfarm.compression.checkpoints import Checkpoint
from distillfarm.compression.datasets import NO_LABEL, Samples, is_classes
from distillfarm.compression.hints import Hints
from distillfarm.compression.protocols import PassRefused, Workspace
from distillfarm.compression.torch_models import TorchModel, named_outputs
from distillfarm.compression.zoo.modules import Student
from distillfarm.domain.variant import CurvePoint

_BATCH, _SMALLEST_BATCH = 128, 16
# With fewer steps an epoch, what few samples there are taught little: a recurrent student of 383
# reached 82 % with 2 steps.
_STEPS = 12
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
    """What to learn, the teacher's output on it, and what to follow progress by.

    Samples of ``train`` without a label are learned from the teacher alone.
    """

    train: Samples
    teacher: Tensor
    selection: Samples


class Constraint(Protocol):
    """What the weights are held to: called after every step of the optimiser."""

    def __call__(self) -> None:
        """Bring the weights back to what they may be."""

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` needs to go on after an interruption."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""


def default_epochs(visits: int, samples: int, most: int) -> int:
    """Epochs that show about ``visits`` samples in all, at least 4 and at most ``most``."""
    return min(most, max(4, round(visits / samples)))


def batches(samples: int) -> int:
    """Steps of the optimiser in an epoch; the last incomplete batch is left out."""
    return samples // _batch(samples)


def _batch(samples: int) -> int:
    """Samples in a step: 128, and fewer where an epoch would have few steps."""
    return min(samples, _BATCH, max(_SMALLEST_BATCH, samples // _STEPS))


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
    constraint: Constraint | None = None,
    hints: Hints | None = None,
) -> None:
    """Train ``model.module`` in place: AdamW under a one-cycle learning rate.

    The loss mixes cross-entropy on labels with the divergence from the teacher's softened answers
    (Hinton, Vinyals and Dean, arXiv:1503.02531, 2015); for regression both are squared errors.
    ``hints`` add the distance inside. Every epoch adds a point to the learning curve and is kept in
    ``workspace.checkpoints``; a training that was interrupted goes on after its last one and gives
    the same weights, and one that had ended is not begun again.

    Raises:
        PassRefused: the loss is not finite any more.
    """
    course = _Course(model, lesson, schedule, workspace, constraint, hints)
    done = course.resume()
    if done:
        report(done / schedule.epochs, f"going on after epoch {done} of {schedule.epochs}")
    for epoch in range(done + 1, schedule.epochs + 1):
        mean = course.epoch(epoch, report)
        if not np.isfinite(mean):
            raise PassRefused(
                f"the loss became {mean} in epoch {epoch}; lower learning_rate (now"
                f" {schedule.learning_rate:g})"
            )
        quality = _quality(model, lesson.selection)
        workspace.curve.append(CurvePoint(epoch, mean, quality))
        course.keep(epoch)
        report(epoch / schedule.epochs, f"epoch {epoch}: selection quality {quality:.4f}")
    model.module.eval()


class _Course:
    """A training with everything that has to be kept for it to go on elsewhere."""

    def __init__(  # noqa: PLR0917
        self,
        model: TorchModel,
        lesson: Lesson,
        schedule: Schedule,
        workspace: Workspace,
        constraint: Constraint | None,
        hints: Hints | None,
    ) -> None:
        self._module = model.module
        self._lesson = lesson
        self._schedule = schedule
        self._curve = workspace.curve
        self._constraint = constraint
        self._inputs = _tensors(lesson.train, model)
        self._labels = torch.from_numpy(lesson.train.labels)
        self._loss = _Loss(model, lesson, schedule, hints)
        self._projections = hints.projections if hints else nn.ModuleList()
        parameters = [*self._module.parameters(), *self._projections.parameters()]
        self._optimiser = torch.optim.AdamW(
            parameters, lr=schedule.learning_rate, weight_decay=_WEIGHT_DECAY
        )
        self._batches = batches(len(lesson.train))
        self._pace = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, schedule.learning_rate, total_steps=schedule.epochs * self._batches
        )
        self._order = torch.Generator().manual_seed(workspace.seed)
        self._checkpoint = Checkpoint(workspace.checkpoints)

    def epoch(self, number: int, report: Callable[[float, str], None]) -> float:
        """Show every sample once; gives the mean loss."""
        self._module.train()
        total = len(self._lesson.train)
        order = torch.randperm(total, generator=self._order)
        losses = []
        size = _batch(total)
        for batch in range(self._batches):
            rows = order[batch * size : (batch + 1) * size]
            loss = self._loss(
                [each[rows] for each in self._inputs],
                self._lesson.teacher[rows],
                self._labels[rows],
            )
            self._optimiser.zero_grad()
            torch.autograd.backward(loss)
            self._optimiser.step()
            if self._constraint is not None:
                self._constraint()
            self._pace.step()
            losses.append(float(loss.detach()))
            if batch % _BATCHES_PER_REPORT == 0:
                epochs = self._schedule.epochs
                done = (number - 1 + batch / self._batches) / epochs
                report(done, f"epoch {number} of {epochs}, loss {losses[-1]:.3f}")
        return float(np.mean(losses))

    def resume(self) -> int:
        """Go on where a checkpoint was left; gives the last epoch done, 0 for none."""
        state = self._checkpoint.load()
        if state is None or _shapes(state["module"]) != _shapes(self._module.state_dict()):
            return 0
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self._order.set_state(state["order"])
        torch.set_rng_state(state["random"])
        self._curve.extend(CurvePoint(*each) for each in state["curve"])
        return int(state["epoch"])

    def keep(self, epoch: int) -> None:
        """Write a checkpoint."""
        points = [(each.epoch, each.loss, each.quality) for each in self._curve]
        self._checkpoint.save(
            {
                **{name: part.state_dict() for name, part in self._parts().items()},
                "order": self._order.get_state(),
                "random": torch.get_rng_state(),
                "curve": points,
                "epoch": epoch,
            }
        )

    def _parts(self) -> dict[str, Any]:
        parts = {
            "module": self._module,
            "projections": self._projections,
            "optimiser": self._optimiser,
            "pace": self._pace,
        }
        return {**parts, "constraint": self._constraint} if self._constraint else parts


class _Loss:
    """Loss of one batch; classes lie along dimension 1."""

    def __init__(
        self, model: TorchModel, lesson: Lesson, schedule: Schedule, hints: Hints | None
    ) -> None:
        self._hints = hints
        self._model = model
        self._schedule = schedule
        self._classes = lesson.train.labels.dtype == np.int64
        self._probabilities = self._classes and are_probabilities(lesson.teacher.numpy())

    def __call__(self, inputs: Sequence[Tensor], teacher: Tensor, labels: Tensor) -> Tensor:
        with self._hints.watching() if self._hints else nullcontext():
            answer = self._answer(inputs)
        loss = self._compared(answer, teacher, labels)
        return loss + self._hints.loss(inputs) if self._hints else loss

    def _compared(self, answer: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        share = self._schedule.soft_share
        if not self._classes:
            target = labels.to(answer.dtype).reshape(answer.shape)
            missed = torch.where(target.isnan(), 0.0, answer - target).square().mean()
            return share * functional.mse_loss(answer, teacher) + (1 - share) * missed
        # By the whole batch, so that a label counts the same whatever it is drawn with.
        hard = functional.cross_entropy(
            answer, labels, ignore_index=NO_LABEL, reduction="sum"
        ) / len(labels)
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


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    # A user's factory need not build the same module twice.
    return {name: tuple(each.shape) for name, each in state.items() if isinstance(each, Tensor)}


def _tensors(samples: Samples, model: TorchModel) -> list[Tensor]:
    return [torch.from_numpy(samples.inputs[each.name]) for each in model.spec.signature.inputs]
