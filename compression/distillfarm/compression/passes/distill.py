"""Trains a smaller student on the source model's answers, and on its insides if they are seen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distillfarm.compression.datasets import Samples, is_classes
from distillfarm.compression.inference import RUNNABLE, open_model
from distillfarm.compression.passes.settings import number, option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.compression.zoo.config import Family
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from distillfarm.compression.hints import Hints
    from distillfarm.compression.torch_models import TorchModel

_TEACHER_SHARE = 0.1
_VISITS = 150_000
_MOST_EPOCHS = 60
# Found on Fashion-MNIST's selection split; attention and recurrence do not bear as much.
_LEARNING_RATES = {
    Family.CNN: 0.01,
    Family.MLP: 0.01,
    Family.ENCODER: 0.003,
    Family.GRU: 0.003,
}
_LEARNING_RATE = 0.003  # for the user's own architectures
# Better than always giving the most frequent answer by at least this share of what is left.
_LEARNED_SHARE = 0.05


@dataclass(frozen=True)
class DistillSettings:
    """``width`` scales the student, ``depth`` is its number of layers (0: as it is).

    ``epochs`` 0 lets the size of the data decide, ``learning_rate`` 0 the architecture.
    ``soft_share`` is the weight of the teacher's answers against the labels'; ``features`` and
    ``attention`` are what hidden states and attention maps add to the loss, 0 for nothing.
    """

    width: float = number(0.5, 0.05, 8.0)
    depth: int = number(0, 0, 100)
    student: str = option("auto", "factory", "teacher", "zoo")
    epochs: int = number(0, 0, 1000)
    learning_rate: float = number(0.0, 0.0, 1e6)
    temperature: float = number(2.0, 0.5, 50.0)
    soft_share: float = number(0.9, 0.0, 1.0)
    features: float = number(0.0, 0.0, 1000.0)
    attention: float = number(0.0, 0.0, 1000.0)


class Distill:
    """Soft labels with temperature beside hard labels (Hinton et al., arXiv:1503.02531).

    The teacher is the source model in any format that runs here: only its answers are needed,
    on the training split and on samples without labels. Hidden states and attention maps need a
    PyTorch teacher built by a factory. The student keeps the teacher's names of inputs and
    outputs, and one of the zoo gives probabilities if the teacher does.
    """

    name = "distill"
    formats = RUNNABLE
    gives = ModelFormat.TORCH_MODULE
    promise = Promise.FEWER_PARAMETERS

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, DistillSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Train a student of the workspace's teacher; ``source`` gives its signature.

        Raises:
            PassRefused: there is no such student, nothing inside to compare, or it does not learn.
        """
        import torch

        from distillfarm.compression import teaching, training
        from distillfarm.compression.passes import students
        from distillfarm.compression.passes.finetuning import written

        settings = parse(spec, DistillSettings)
        workspace.report(0.0, "loading the teacher")
        signature = open_model(source, workspace.threads).signature
        lessons = teaching.lessons(
            workspace,
            signature,
            lambda done: workspace.report(_TEACHER_SHARE * done, "asking the teacher"),
        )
        if len(lessons.answers) != 1:
            raise PassRefused(
                f"the teacher gives {len(lessons.answers)} outputs; a student gives one"
            )
        answers = next(iter(lessons.answers.values()))
        training.begin(workspace.seed, workspace.threads)
        scale = students.Scale(settings.width, settings.depth)
        task = students.Task(signature, lessons.transfer.inputs, answers)
        model = students.made(settings.student, scale, source, task, workspace)
        hints = _hints(model, settings, lessons.transfer, workspace)
        if hints is not None:
            workspace.notes.append(hints.matched())
        epochs = training.default_epochs(_VISITS, len(lessons.transfer), _MOST_EPOCHS)
        schedule = training.Schedule(
            settings.epochs or epochs,
            settings.learning_rate or _default_rate(model),
            settings.temperature,
            settings.soft_share,
        )
        training.fit(
            model,
            training.Lesson(lessons.transfer, torch.from_numpy(answers), lessons.selection),
            schedule,
            workspace,
            lambda done, text: workspace.report(_TEACHER_SHARE + (1 - _TEACHER_SHARE) * done, text),
            hints=hints,
        )
        _refuse_what_did_not_learn(lessons.selection, schedule.learning_rate, workspace)
        return written(model, workspace, "student.zip")


def _hints(
    model: "TorchModel", settings: DistillSettings, samples: Samples, workspace: Workspace
) -> "Hints | None":
    import torch

    from distillfarm.compression import torch_models
    from distillfarm.compression.hints import Hints, HintWeights

    if not settings.features and not settings.attention:
        return None
    if workspace.teacher.format is not ModelFormat.TORCH_MODULE:
        raise PassRefused(
            "features and attention look inside the teacher, which needs a state dict with its"
            f" factory; this {workspace.teacher.format.value} model teaches by soft labels alone"
        )
    teacher = torch_models.read(workspace.teacher.path).module
    some = samples.take(slice(0, 4))
    example = [torch.from_numpy(some.inputs[each.name]) for each in model.spec.signature.inputs]
    weights = HintWeights(settings.features, settings.attention)
    return Hints(teacher, model.module, weights, example)


def _default_rate(model: "TorchModel") -> float:
    zoo = model.spec.zoo
    return _LEARNING_RATES[zoo.family] if zoo else _LEARNING_RATE


def _refuse_what_did_not_learn(selection: Samples, rate: float, workspace: Workspace) -> None:
    """A student no better than a constant answer is none."""
    reached = workspace.curve[-1].quality
    labels = selection.labels
    if is_classes(labels):
        _, counts = np.unique(labels, return_counts=True)
        constant = float(counts.max() / len(labels))
        needed = constant + _LEARNED_SHARE * (1 - constant)
        told = f"accuracy {reached:.3f}, always the most frequent class {constant:.3f}"
    else:
        constant = -float(np.var(labels.astype(np.float64)))
        needed = constant * (1 - _LEARNED_SHARE)
        told = f"squared error {-reached:.3g}, always the mean {-constant:.3g}"
    if reached < needed:
        raise PassRefused(
            f"the student did not learn: after epoch {workspace.curve[-1].epoch} {told}; raise"
            f" width or epochs, or change learning_rate (now {rate:g})"
        )
