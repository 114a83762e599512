"""Studies on the real queue, worker and workshop; only the devices are stand-ins."""

import re
import time
from dataclasses import replace
from pathlib import Path

import farm_samples
import pytest
import tiny_models
from toy_processes import ToyProcesses

from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.study import StudyState

pytestmark = pytest.mark.slow

EPOCH = re.compile(r"epoch (\d+)")


def create(
    farm: ToyProcesses,
    problem: tiny_models.Problem,
    *recipes: str,
    targets: tuple[Target, ...] = (farm_samples.ONNX,),
) -> None:
    path = problem.model.path
    digest = farm.blobs.put_file(path)
    artifact = ArtifactRef(digest, path.stat().st_size, ModelFormat.TORCH_MODULE, path.name)
    spec = replace(
        farm_samples.study_spec("tiny"),
        model=SourceModel(artifact),
        data=Dataset(farm.blobs.put_file(problem.data)),
        targets=targets,
        final_launches=4,
        recipes=tuple(map(parse_recipe, recipes)),
    )
    farm.store.create_study("study-1", spec, time.time())


def test_a_training_goes_on_in_the_worker_that_follows_a_killed_one(tmp_path: Path) -> None:
    problem = tiny_models.trained("image", tmp_path / "problem")

    def epochs() -> list[int]:
        told = [EPOCH.search(each.text) for each in farm.events("study-1")]
        return [int(each[1]) for each in told if each]

    with ToyProcesses(tmp_path) as farm:
        farm.start("controller", "compressor")
        create(farm, problem, "sparsify(ratio=0.7,epochs=1000)")
        farm.wait(lambda: max(epochs(), default=0) >= 100, "the hundredth epoch")
        farm.kill("compressor")
        seen = len(epochs())
        reached = epochs()[-1]
        farm.start("compressor")
        study = farm.wait_final("study-1")

        assert (study.state, study.error) == (StudyState.DONE, "")
        assert epochs()[seen:]
        assert min(epochs()[seen:]) >= reached
        sparse = next(each for each in farm.trials("study-1") if not each.reference)
        assert sparse.exported is not None
        curve = sparse.exported.reports[0].curve
        assert [each.epoch for each in curve] == list(range(1, 1001))
        assert not list((tmp_path / "unfinished").iterdir())
