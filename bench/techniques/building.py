"""Builds recipes through the product's workshop, every shared beginning once."""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from distillfarm.compression import compress, registry
from distillfarm.compression.compress import Step, StepKind
from distillfarm.compression.protocols import Promise
from distillfarm.compression.workshop import Workshop
from distillfarm.domain.errors import FarmError
from distillfarm.domain.hardware import Target, parse_target
from distillfarm.domain.interval import Interval
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.variant import Exported, Quality, Variant
from distillfarm.sandbox.limits import Limits
from distillfarm.wire.blobs import LocalBlobs
from techniques.recipes import Try
from techniques.teaching import FACTORIES, SPLIT_SEED, Trained

SEED = 0


@dataclass(frozen=True)
class Built:
    """What became of a recipe; ``refused`` says why there is no file.

    ``selection_drop`` is in points on the selection split, by which the best is chosen; the other
    qualities are those of the test split. ``packs`` marks a recipe that promises a smaller packed
    file alone. ``seconds`` is wall time from the teacher to the judged file, shared steps included;
    ``peak_rss_bytes`` that of the hungriest process on the way.
    """

    recipe: str
    runtime: str
    refused: str = ""
    path: Path = Path()
    format: ModelFormat = ModelFormat.ONNX
    size_bytes: int = 0
    packed_bytes: int = 0
    packs: bool = False
    parameters: int = 0
    selection_drop: float = 0.0
    quality: Quality | None = None
    drop: Interval | None = None
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Made:
    variant: Variant
    seconds: float


class Builder:
    """A workshop with one workload's teacher; may be called from several threads."""

    def __init__(self, trained: Trained, folder: Path) -> None:
        self._blobs = LocalBlobs(folder / "blobs")
        self._work = Workshop(self._blobs, folder / "work", Limits())
        self._dataset = Dataset(self._blobs.put_file(trained.data), seed=SPLIT_SEED)
        weights = trained.weights
        source = SourceModel(
            ArtifactRef(
                self._blobs.put_file(weights),
                weights.stat().st_size,
                ModelFormat.TORCH_STATE,
                weights.name,
            ),
            factory_digest=self._blobs.put_file(FACTORIES),
            factory_function=trained.workload.factory,
        )
        self._teacher = self._work.ingest(source, self._dataset)
        self._steps: dict[tuple[tuple[Step, ...], str], Future[_Made]] = {}
        self._lock = threading.Lock()

    def build(self, asked: Try) -> Built:
        """The recipe's file with its evidence, or why there is none."""
        target = parse_target(asked.runtime)
        recipe = parse_recipe(asked.recipe)
        packs = any(
            registry.compression_pass(each.name).promise is Promise.SMALLER_PACKED
            for each in recipe.passes
        )
        try:
            steps = compress.steps(recipe, self._teacher.artifact.format, target)
            made = self._after(steps[:-1], target)
            began = time.monotonic()
            done = self._work.export(made.variant, target, self._dataset, self._teacher, SEED)
        except FarmError as error:
            return Built(asked.recipe, asked.runtime, refused=str(error))
        return _built(asked, done, self._blobs, packs, made.seconds + time.monotonic() - began)

    def _after(self, steps: tuple[Step, ...], target: Target) -> _Made:
        """The variant after ``steps``; work that another recipe began is waited for."""
        if not steps:
            return _Made(self._teacher, 0.0)
        # Before its file has a runtime's format, a model is the same for every target.
        converted = any(each.kind is StepKind.CONVERT for each in steps)
        key = (steps, str(target) if converted else "")
        with self._lock:
            known = self._steps.get(key)
            if known is None:
                mine = self._steps[key] = Future()
        if known is not None:
            return known.result()
        try:
            before = self._after(steps[:-1], target)
            began = time.monotonic()
            variant = self._take(steps[-1], before.variant, target)
            mine.set_result(_Made(variant, before.seconds + time.monotonic() - began))
        except BaseException as error:
            mine.set_exception(error)
            raise
        return mine.result()

    def _take(self, step: Step, variant: Variant, target: Target) -> Variant:
        if step.spec is None:
            return self._work.convert(variant, target, self._dataset, self._teacher, SEED)
        return self._work.apply(variant, step.spec, self._dataset, self._teacher, SEED)


def _built(asked: Try, done: Exported, blobs: LocalBlobs, packs: bool, seconds: float) -> Built:
    return Built(
        asked.recipe,
        asked.runtime,
        path=blobs.path(done.artifact.digest),
        format=done.artifact.format,
        size_bytes=done.artifact.size_bytes,
        packed_bytes=done.packed_bytes,
        packs=packs,
        parameters=done.parameters,
        selection_drop=done.quality_drop.value,
        quality=done.test_quality,
        drop=done.test_drop,
        seconds=seconds,
        peak_rss_bytes=max((each.peak_rss_bytes for each in done.reports), default=0),
        notes=tuple(note for each in done.reports for note in each.notes),
    )
