"""Lets a changed PyTorch module learn from the source model again."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.datasets import load_for_passes, with_unlabelled
from distillfarm.compression.passes.settings import number
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat

if TYPE_CHECKING:
    from torch import nn

    from distillfarm.compression.torch_models import TorchModel
    from distillfarm.compression.training import Constraint

_TEACHER_SHARE = 0.15
_VISITS = 72_000
_MOST_EPOCHS = 40
_LEARNING_RATE_OF_CONVOLUTIONS, _LEARNING_RATE = 0.01, 0.003


@dataclass(frozen=True)
class FinetuneSettings:
    """How long and hard to learn: the settings that every pass that trains afterwards takes.

    ``epochs`` 0 lets the size of the data decide, ``learning_rate`` 0 the kind of layers.
    """

    epochs: int = number(0, 0, 1000)
    learning_rate: float = number(0.0, 0.0, 1e6)
    temperature: float = number(2.0, 0.5, 50.0)
    soft_share: float = number(0.9, 0.0, 1.0)


def finetune(
    model: "TorchModel",
    settings: FinetuneSettings,
    workspace: Workspace,
    constraint: "Constraint | None" = None,
    default_rate: float = 0.0,
) -> None:
    """Train ``model.module`` in place on labels and the source model's answers.

    ``constraint`` holds weights to what they may be (zeros that stay, values that are shared).
    ``default_rate`` is the learning rate where settings leave it open, 0 to choose by the kind of
    layers. ``training.begin`` must have been called before the module was read, so that the work
    repeats itself.

    Raises:
        PassRefused: the loss is not finite any more.
    """
    import torch

    from distillfarm.compression import teaching, training

    signature = model.spec.signature
    lessons = teaching.lessons(
        workspace,
        signature,
        lambda done: workspace.report(_TEACHER_SHARE * done, "asking the teacher"),
    )
    schedule = training.Schedule(
        _epochs(settings, len(lessons.transfer)),
        settings.learning_rate or default_rate or _learning_rate(model.module),
        settings.temperature,
        settings.soft_share,
    )
    answers = torch.from_numpy(lessons.answers[signature.outputs[0].name])
    training.fit(
        model,
        training.Lesson(lessons.transfer, answers, lessons.selection),
        schedule,
        workspace,
        lambda done, text: workspace.report(_TEACHER_SHARE + (1 - _TEACHER_SHARE) * done, text),
        constraint=constraint,
    )


def steps(model: "TorchModel", settings: FinetuneSettings, workspace: Workspace) -> int:
    """How often ``finetune`` with these settings will step."""
    from distillfarm.compression import training

    signature = model.spec.signature
    data = load_for_passes(workspace.data, signature, workspace.split_seed)
    count = len(with_unlabelled(data.train, workspace.data, signature))
    return _epochs(settings, count) * training.batches(count)


def written(model: "TorchModel", workspace: Workspace, name: str) -> WorkingModel:
    """``model`` as the file ``name`` in the workspace."""
    from distillfarm.compression import torch_models

    path = workspace.folder / name
    torch_models.write(model, path)
    return WorkingModel(path, ModelFormat.TORCH_MODULE)


def _epochs(settings: FinetuneSettings, samples: int) -> int:
    from distillfarm.compression import training

    return settings.epochs or training.default_epochs(_VISITS, samples, _MOST_EPOCHS)


def _learning_rate(module: "nn.Module") -> float:
    from torch import nn

    convolves = any(isinstance(each, nn.Conv1d | nn.Conv2d) for each in module.modules())
    return _LEARNING_RATE_OF_CONVOLUTIONS if convolves else _LEARNING_RATE
