"""Recipes built in one process, where the workshop has one for every piece of work."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from distillfarm.compression import compress
from distillfarm.compression.compress import StepKind
from distillfarm.compression.workshop import Workshop
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ArtifactRef, Dataset, SourceModel
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.variant import Exported, Variant
from distillfarm.sandbox import tasks
from distillfarm.sandbox.limits import Limits
from distillfarm.wire.blobs import LocalBlobs


@dataclass(frozen=True)
class Order:
    """A recipe for a target, and the files of its source; paths are text."""

    model: str
    artifact: ArtifactRef
    data: str
    recipe: str
    target: str


def build(work: Workshop, teacher: Variant, dataset: Dataset, recipe: str, target: str) -> Exported:
    """Every step of a recipe and the export."""
    where, variant = parse_target(target), teacher
    for step in compress.steps(parse_recipe(recipe), teacher.artifact.format, where):
        if step.spec is not None:
            variant = work.apply(variant, step.spec, dataset, teacher, 0)
        elif step.kind is StepKind.CONVERT:
            variant = work.convert(variant, where, dataset, teacher, 0)
    return work.export(variant, where, dataset, teacher, 0)


def built(order: Order, report: Callable[[float, str], None]) -> Exported:
    """Task: take the source in and build, all of it in this process."""
    del report
    folder = Path.cwd()
    blobs = LocalBlobs(folder / "blobs")
    dataset = Dataset(blobs.put_file(Path(order.data)))
    blobs.put_file(Path(order.model))
    work = Workshop(blobs, folder / "work", Limits())
    with mock.patch.object(tasks, "run", _here):
        teacher = work.ingest(SourceModel(order.artifact), dataset)
        return build(work, teacher, dataset, order.recipe, order.target)


def _here(task: str, request: object, *_: Any, **__: Any) -> object:
    """In the place of ``tasks.run``: the task without a sandbox."""
    return pkgutil.resolve_name(task)(request, tasks.ignore_progress)
