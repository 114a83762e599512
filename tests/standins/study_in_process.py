"""Whole studies in the test's own process: the real pipeline over a real store, around toys.

There is no queue and no crash here, so a study takes a second; ``toy_processes`` has both.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import farm_samples
import msgspec
import pytest
import toy_farm
from toy_farm import Toy, ToyDispatcher, ToyWorkshop

from distillfarm.compression.protocols import PassRefused
from distillfarm.controller import durable, pipeline, stages
from distillfarm.controller.compressor import Compressor
from distillfarm.controller.signing import signing_key
from distillfarm.controller.stages import Stages
from distillfarm.controller.store.protocol import MeasurementQuery
from distillfarm.controller.tools import Tools
from distillfarm.domain.hardware import Target
from distillfarm.domain.measurement import Measurement
from distillfarm.domain.model import Analysis, ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.study import Study, StudyEvent, Trial
from distillfarm.domain.variant import Exported, Recipe, Refusal, Variant
from distillfarm.wire.blobs import LocalBlobs

T = TypeVar("T")


def _report(_share: float, _text: str) -> None:
    """Nobody listens."""


class ToyCompressor(Compressor):
    """Speaks the compressor's interface, without a queue between it and the workshop."""

    def __init__(self, workshop: ToyWorkshop) -> None:
        self._workshop = workshop

    def ingest(self, source: SourceModel, dataset: Dataset, *_: object) -> Variant:
        return self._workshop.ingest(source, dataset, report=_report, cancelled=lambda: False)

    def analyse(self, variant: Variant, dataset: Dataset, *_: object) -> Analysis:
        return self._workshop.analyse(variant, dataset, report=_report, cancelled=lambda: False)

    def compress(
        self,
        model: Variant,
        recipe: Recipe,
        target: Target,
        *,
        dataset: Dataset,
        seed: int,
        **_: object,
    ) -> Exported | Refusal:
        variant = model
        for spec in recipe.passes:
            try:
                variant = self._workshop.apply(
                    variant, spec, dataset, model, seed, report=_report, cancelled=lambda: False
                )
            except PassRefused as error:
                return Refusal(str(spec), str(error))
        return self._workshop.export(
            variant, target, dataset, model, seed, report=_report, cancelled=lambda: False
        )


class Lab:
    """A folder with a store and toy devices, in which studies run one after the other."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, toy: Toy) -> None:
        self._folder = folder
        self.store = toy_farm.store(folder)
        self.blobs = LocalBlobs(folder / "blobs")
        self.furnish(toy)
        monkeypatch.setattr(durable, "step", _step)
        # Its pictures take most of a study's time here, and it has tests of its own.
        bundle = ArtifactRef(farm_samples.DIGEST, 1, ModelFormat.BUNDLE, "bundle.tar")
        monkeypatch.setattr(stages, "build_bundle", lambda *_: bundle)

    def furnish(self, toy: Toy, os_build: str = "build-1") -> None:
        """Have the toy's devices, under a build of their system."""
        self.toy = toy
        infos = toy_farm.devices(toy)
        infos = [replace(each, os_build=os_build) for each in infos]
        self.store.report_devices("agent-1", infos, time.time())
        self.os_build = os_build

    def run(self, study_id: str, **changes: object) -> Study:
        """A study of a made-up model to its end."""
        digest = self.blobs.put_bytes(b"x" * 4000)
        spec = replace(
            farm_samples.study_spec("toy"),
            model=SourceModel(ArtifactRef(digest, 4000, ModelFormat.ONNX, "toy.onnx")),
            data=Dataset(digest),
            final_launches=4,
        )
        self.store.create_study(study_id, replace(spec, **changes), time.time())  # type: ignore[arg-type]
        return self.go_on(study_id)

    def go_on(self, study_id: str) -> Study:
        """Run a study's workflow from its start, as after a crash of the controller."""
        tools = Tools(
            store=self.store,
            blobs=self.blobs,
            compressor=ToyCompressor(ToyWorkshop(self._folder, self.toy)),
            dispatcher=ToyDispatcher(self._folder, self.store, self.toy, self.os_build),
            signing_key=signing_key(self._folder),
            stopping=lambda: False,
            freshness_s=self.toy.freshness_s,
        )
        pipeline.run_study(Stages(tools, self.store.study(study_id)))
        return self.store.study(study_id)

    def trials(self, study_id: str) -> list[Trial]:
        """The study's trials."""
        return self.store.trials(study_id)

    def events(self, study_id: str) -> list[StudyEvent]:
        """What the study told of itself."""
        return self.store.events(study_id)

    def measurements(self, study_id: str) -> Sequence[Measurement]:
        """What was measured for the study."""
        return self.store.measurements(MeasurementQuery(study_id=study_id))


def _step(_name: str, work: Callable[[], T], kind: object) -> tuple[T, float]:
    """What a durable step does, written down and read back like there."""
    began = time.monotonic()
    value: T = msgspec.json.decode(msgspec.json.encode(work()), type=kind)
    return value, time.monotonic() - began
