"""The student of a distillation: the user's, the teacher's architecture scaled, or the zoo's."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from distillfarm.compression import torch_models
from distillfarm.compression.datasets import Array
from distillfarm.compression.protocols import PassRefused, WorkingModel, Workspace
from distillfarm.compression.torch_models import ModuleSpec, TorchModel
from distillfarm.compression.training import are_probabilities
from distillfarm.compression.zoo.config import Family, ZooConfig, student
from distillfarm.compression.zoo.modules import build
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import ModelFormat, Signature

AUTO, FACTORY, TEACHER, ZOO = "auto", "factory", "teacher", "zoo"
_WIDTH, _DEPTH = "width", "depth"
# Inputs within these need no scaling; a student without it is one operator shorter.
_USUAL_MEAN, _USUAL_SPREAD = 2.0, (0.1, 4.0)


@dataclass(frozen=True)
class Task:
    """What the student is for: its signature, inputs to learn from, the teacher's answers to them.

    ``inputs`` are [n, ...] by name, ``answers`` [n, outputs].
    """

    signature: Signature
    inputs: Mapping[str, Array]
    answers: Array


@dataclass(frozen=True)
class Scale:
    """``width`` multiplies the widths; ``depth`` is a number of layers, 0 to leave it."""

    width: float
    depth: int


def made(
    kind: str, scale: Scale, source: WorkingModel, task: Task, workspace: Workspace
) -> TorchModel:
    """A fresh student with weights from torch's global generator.

    ``kind`` AUTO takes the user's factory if there is one; else the teacher's own architecture, if
    it is of the zoo or its factory takes ``width`` or ``depth``; else the zoo's for such inputs.

    Raises:
        PassRefused: there is no such student, or its answers have another shape.
    """
    teacher = torch_models.read(source.path) if source.format is ModelFormat.TORCH_MODULE else None
    model: TorchModel | None = None
    if kind in {AUTO, FACTORY}:
        model = _of_user(scale, task, workspace)
    if model is None and kind in {AUTO, TEACHER} and teacher is not None:
        model = _scaled(scale, teacher, task)
    if model is None and kind in {AUTO, ZOO}:
        model = _of_zoo(_fitting(task), scale, task)
    if model is None:
        remedies = {
            FACTORY: "there is no student's factory; give one with --student FILE:FUNCTION",
            TEACHER: "the teacher is neither of the zoo nor built by a factory that takes width or"
            " depth; use student=zoo",
        }
        raise PassRefused(f"student={kind}: {remedies[kind]}")
    return _checked(model, task)


def _of_user(scale: Scale, task: Task, workspace: Workspace) -> TorchModel | None:
    if workspace.student is None:
        return None
    path, function = workspace.student
    return _by_factory(path.read_bytes(), function, scale, task)


def _scaled(scale: Scale, teacher: TorchModel, task: Task) -> TorchModel | None:
    if teacher.spec.zoo:
        return _of_zoo(teacher.spec.zoo, scale, task)
    takes = torch_models.factory_takes(teacher.factory_source, teacher.spec.factory_function)
    if not takes & {_WIDTH, _DEPTH}:
        return None
    return _by_factory(teacher.factory_source, teacher.spec.factory_function, scale, task)


def _by_factory(source: bytes, function: str, scale: Scale, task: Task) -> TorchModel:
    takes = torch_models.factory_takes(source, function)
    wanted: Mapping[str, float] = {
        _WIDTH: scale.width,
        **({_DEPTH: scale.depth} if scale.depth else {}),
    }
    spec = ModuleSpec(
        _free_batch(task.signature),
        factory_function=function,
        factory_arguments=tuple((name, each) for name, each in wanted.items() if name in takes),
    )
    return TorchModel(torch_models.made(spec, source), spec, source)


def _of_zoo(config: ZooConfig, scale: Scale, task: Task) -> TorchModel:
    config = dataclasses.replace(
        config,
        width=config.width * scale.width,
        layers=scale.depth or config.layers,
        outputs=task.answers.shape[1],
        probabilities=are_probabilities(task.answers),
    )
    given = task.inputs[task.signature.inputs[0].name]
    if config.family is Family.ENCODER:
        vocabulary = max(config.vocabulary, int(given.max()) + 1)
        config = dataclasses.replace(config, vocabulary=vocabulary)
    else:
        config = _centred(config, float(given.mean()), float(given.std()))
    return TorchModel(build(config), ModuleSpec(_free_batch(task.signature), zoo=config))


def _fitting(task: Task) -> ZooConfig:
    try:
        return student(task.signature, 1.0)
    except InvalidRequest as error:
        raise PassRefused(str(error)) from error


def _centred(config: ZooConfig, mean: float, spread: float) -> ZooConfig:
    low, high = _USUAL_SPREAD
    if abs(mean) <= _USUAL_MEAN and low <= spread <= high:
        return config
    return dataclasses.replace(config, shift=mean, scale=1.0 / spread if spread else 1.0)


def _checked(model: TorchModel, task: Task) -> TorchModel:
    import torch

    if model.spec.zoo:
        return model
    examples = torch_models.example_inputs(model.spec.signature, batch=2)
    try:
        with torch.no_grad():
            outputs = torch_models.named_outputs(
                model.module.eval()(*examples), model.spec.signature
            )
    except Exception as error:
        # The user's own code may raise anything.
        raise PassRefused(
            f"the student does not take the teacher's inputs: {type(error).__name__}: {error}"
        ) from error
    if outputs[0].shape[1:] != task.answers.shape[1:]:
        raise PassRefused(
            f"the student answers {list(outputs[0].shape[1:])} a sample, the teacher"
            f" {list(task.answers.shape[1:])}"
        )
    return model


def _free_batch(signature: Signature) -> Signature:
    """The same signature with a free batch: a student takes any."""
    return Signature(
        *(
            tuple(dataclasses.replace(each, shape=(-1, *each.shape[1:])) for each in side)
            for side in (signature.inputs, signature.outputs)
        )
    )
