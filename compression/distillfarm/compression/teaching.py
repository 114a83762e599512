"""The source model's answers: worked out once for a model and its inputs, then kept."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from distillfarm.compression.datasets import Array, Samples, load_for_passes, with_unlabelled
from distillfarm.compression.evaluation import as_labels
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.domain.model import Signature

CACHE_FOLDER = "cache"

Report = Callable[[float], None]


@dataclass(frozen=True)
class Lessons:
    """What a student learns from: samples, some of them perhaps without labels, and answers.

    ``answers`` are the source model's outputs on ``transfer``, by name.
    """

    transfer: Samples
    answers: dict[str, Array]
    selection: Samples


def lessons(workspace: Workspace, signature: Signature, report: Report | None = None) -> Lessons:
    """The training split and the samples without labels, with the source model's answers.

    Raises:
        InvalidRequest: the data do not fit the model.
    """
    data = load_for_passes(workspace.data, signature, workspace.split_seed)
    transfer = with_unlabelled(data.train, workspace.data, signature)
    outputs = answers(workspace, transfer, report)
    if not transfer.labelled:
        transfer = replace(transfer, labels=as_labels(outputs))
    return Lessons(transfer, outputs, labelled(workspace, data.selection))


def labelled(workspace: Workspace, samples: Samples) -> Samples:
    """The same samples; where none has a label, the source model's answers are the labels.

    Raises:
        InvalidRequest: its answers are no single array, so they cannot be.
    """
    if samples.labelled:
        return samples
    return replace(samples, labels=as_labels(answers(workspace, samples)))


def answers(
    workspace: Workspace, samples: Samples, report: Report | None = None
) -> dict[str, Array]:
    """The source model's outputs on ``samples``.

    Read from ``workspace.cache`` if they are there; else worked out and written into the folder
    ``cache`` of the workspace, which the workshop moves into its cache afterwards: a task in the
    sandbox writes nowhere else.
    """
    name = f"{_key(workspace.teacher, samples.inputs)}.npz"
    for folder in (workspace.cache, workspace.folder / CACHE_FOLDER):
        if (folder / name).is_file():
            with np.load(folder / name, allow_pickle=False) as kept:
                return dict(kept)
    outputs = open_model(workspace.teacher, workspace.threads)(samples.inputs, report)
    fresh = workspace.folder / CACHE_FOLDER
    fresh.mkdir(exist_ok=True)
    np.savez(fresh / name, allow_pickle=False, **outputs)
    return outputs


def _key(teacher: WorkingModel, inputs: Mapping[str, Array]) -> str:
    content = hashlib.sha256(teacher.format.value.encode())
    with teacher.path.open("rb") as file:
        content.update(hashlib.file_digest(file, "sha256").digest())
    for name, array in sorted(inputs.items()):
        content.update(f"{name} {array.dtype} {array.shape} ".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()[:32]
