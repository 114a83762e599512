"""Trains a smaller student on the source model's answers."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.datasets import Array, PassData, load_for_passes
from distillfarm.compression.inference import RUNNABLE, open_model
from distillfarm.compression.passes.settings import number, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.compression.zoo.config import Family, ZooConfig, student
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import ModelFormat, Signature
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
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
# Inputs within these need no scaling; a student without it is one operator shorter.
_USUAL_MEAN, _USUAL_SPREAD = 2.0, (0.1, 4.0)


@dataclass(frozen=True)
class DistillSettings:
    """``width`` scales the student.

    ``epochs`` 0 lets the size of the data decide, ``learning_rate`` 0 the architecture.
    """

    width: float = number(0.5, 0.05, 8.0)
    epochs: int = number(0, 0, 1000)
    learning_rate: float = number(0.0, 0.0, 1e6)
    temperature: float = number(2.0, 0.5, 50.0)
    soft_share: float = number(0.9, 0.0, 1.0)


class Distill:
    """Soft labels with temperature beside hard labels (Hinton et al., arXiv:1503.02531).

    The teacher is the source model in any format that runs here: only its answers on the training
    split are needed. The student is the teacher's own architecture scaled, if that is of the zoo;
    else the zoo's for such inputs. It keeps the teacher's names of inputs and outputs, and gives
    probabilities if the teacher does.
    """

    name = "distill"
    formats = RUNNABLE
    gives = ModelFormat.TORCH_MODULE
    promise = Promise.FEWER_PARAMETERS

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, DistillSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Train a student of the workspace's teacher; ``source`` gives its signature."""
        import torch

        from distillfarm.compression import teaching, torch_models, training
        from distillfarm.compression.zoo.modules import build

        settings = parse(spec, DistillSettings)
        workspace.report(0.0, "loading the teacher")
        signature = open_model(source, workspace.threads).signature
        data = load_for_passes(workspace.data, signature, workspace.split_seed)
        named = teaching.answers(
            workspace,
            data.train,
            "train",
            lambda done: workspace.report(_TEACHER_SHARE * done, "asking the teacher"),
        )
        if len(named) != 1:
            raise PassRefused(f"the teacher gives {len(named)} outputs; a student gives one")
        answers = next(iter(named.values()))
        config = _student(source, signature, settings.width, data, answers)
        training.begin(workspace.seed, workspace.threads)
        model = torch_models.TorchModel(
            build(config), torch_models.ModuleSpec(_free_batch(signature), zoo=config)
        )
        epochs = training.default_epochs(_VISITS, len(data.train), _MOST_EPOCHS)
        schedule = training.Schedule(
            settings.epochs or epochs,
            settings.learning_rate or _LEARNING_RATES[config.family],
            settings.temperature,
            settings.soft_share,
        )
        lesson = training.Lesson(data.train, torch.from_numpy(answers), data.selection)
        training.fit(
            model,
            lesson,
            schedule,
            workspace,
            lambda done, text: workspace.report(_TEACHER_SHARE + (1 - _TEACHER_SHARE) * done, text),
        )
        path = workspace.folder / "student.zip"
        torch_models.write(model, path)
        return WorkingModel(path, ModelFormat.TORCH_MODULE)


def _student(
    source: WorkingModel, signature: Signature, width: float, data: PassData, answers: Array
) -> ZooConfig:
    from distillfarm.compression.training import are_probabilities

    try:
        config = _own_architecture(source) or student(signature, 1.0)
    except InvalidRequest as error:
        raise PassRefused(str(error)) from error
    given = data.train.inputs[signature.inputs[0].name]
    config = dataclasses.replace(
        config,
        width=config.width * width,
        outputs=answers.shape[1],
        probabilities=are_probabilities(answers),
    )
    if config.family is Family.ENCODER:
        return dataclasses.replace(config, vocabulary=max(config.vocabulary, int(given.max()) + 1))
    mean, spread = float(given.mean()), float(given.std())
    low, high = _USUAL_SPREAD
    if abs(mean) <= _USUAL_MEAN and low <= spread <= high:
        return config
    return dataclasses.replace(config, shift=mean, scale=1.0 / spread if spread else 1.0)


def _own_architecture(source: WorkingModel) -> ZooConfig | None:
    if source.format is not ModelFormat.TORCH_MODULE:
        return None
    from distillfarm.compression import torch_models

    model: TorchModel = torch_models.read(source.path)
    return model.spec.zoo


def _free_batch(signature: Signature) -> Signature:
    """The same signature with a free batch: a student takes any."""
    return Signature(
        *(
            tuple(dataclasses.replace(each, shape=(-1, *each.shape[1:])) for each in side)
            for side in (signature.inputs, signature.outputs)
        )
    )
