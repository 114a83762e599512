"""The teacher's answers: worked out once for a teacher and a data set, then kept."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from distillfarm.compression.datasets import Array, Samples
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import WorkingModel, Workspace

CACHE_FOLDER = "cache"


def answers(
    workspace: Workspace,
    samples: Samples,
    split: str,
    report: Callable[[float], None] | None = None,
) -> dict[str, Array]:
    """The source model's outputs on ``samples``, which are the split of that name.

    Read from ``workspace.cache`` if they are there; else worked out and written into the folder
    ``cache`` of the workspace, which the workshop moves into its cache afterwards: a task in the
    sandbox writes nowhere else.
    """
    name = f"{_key(workspace.teacher, workspace.data, workspace.split_seed)}-{split}.npz"
    for folder in (workspace.cache, workspace.folder / CACHE_FOLDER):
        if (folder / name).is_file():
            with np.load(folder / name, allow_pickle=False) as kept:
                return dict(kept)
    outputs = open_model(workspace.teacher, workspace.threads)(samples.inputs, report)
    fresh = workspace.folder / CACHE_FOLDER
    fresh.mkdir(exist_ok=True)
    np.savez(fresh / name, allow_pickle=False, **outputs)
    return outputs


def _key(teacher: WorkingModel, data: Path, split_seed: int) -> str:
    content = hashlib.sha256(f"{teacher.format.value} {split_seed} ".encode())
    for path in (teacher.path, data):
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()[:32]
