"""Studies on the real queue, worker and workshop; only the devices are stand-ins."""

import html
import io
import re
import time
from dataclasses import replace
from pathlib import Path

import farm_samples
import numpy as np
import pytest
import tiny_models
import torch
from rich.console import Console
from toy_processes import ToyProcesses

from distillfarm.cli.study_results import study_tables
from distillfarm.compression import torch_models
from distillfarm.controller import matrix
from distillfarm.controller.bundle import unpack
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.study import StudyState

pytestmark = pytest.mark.slow

FACTORY = b"""
import torch
from torch import nn


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(20, 1024), nn.Linear(1024, 3)

    def forward(self, x):
        hidden = torch.relu(self.hidden(x))
        if hidden.sum() > 1e9:
            hidden = hidden / 2
        return self.head(hidden)


class Ranking(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(20, 16), nn.Linear(16, 3)

    def forward(self, x):
        hidden = self.hidden(x)
        return self.head(torch.relu(hidden - hidden.kthvalue(3, dim=1, keepdim=True).values))
"""
EPOCH = re.compile(r"epoch (\d+)")


def create(farm: ToyProcesses, problem: tiny_models.Problem, *recipes: str) -> None:
    path = problem.model.path
    digest = farm.blobs.put_file(path)
    artifact = ArtifactRef(digest, path.stat().st_size, ModelFormat.TORCH_MODULE, path.name)
    spec = replace(
        farm_samples.study_spec("tiny"),
        model=SourceModel(
            artifact,
            student_digest=farm.blobs.put_bytes(FACTORY),
            student_function="Ranking",
        ),
        data=Dataset(farm.blobs.put_file(problem.data)),
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
        create(farm, problem, "sparsify(ratio=0.7,epochs=250)")
        farm.wait(lambda: max(epochs(), default=0) >= 2, "an epoch that was kept")
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
        assert [each.epoch for each in curve] == list(range(1, 251))
        assert not list((tmp_path / "unfinished").iterdir())


def branching(folder: Path) -> tiny_models.Problem:
    """A trained model with a branch on the data, and no more data than 200 samples."""
    vectors = tiny_models.trained("vector", folder / "vectors")
    with np.load(vectors.data) as arrays:
        x, label = arrays["x"][:200], arrays["label"][:200]
    torch.manual_seed(0)
    module = torch_models.run_factory(FACTORY, "Branching")
    tiny_models.train(module, torch.from_numpy(x), torch.from_numpy(label))
    spec = torch_models.ModuleSpec(vectors.signature, factory_function="Branching")
    model = torch_models.TorchModel(module, spec, FACTORY)
    return tiny_models.stored(folder / "branching", model, x=x, label=label)


def test_what_cannot_be_built_is_refused_by_name_and_the_study_goes_on(tmp_path: Path) -> None:
    branch = "control flow depends on the data (factory.py, line 13: if hidden.sum() > 1e9:)"
    operator = "operator aten.kthvalue is not supported"
    routes = ("torch.onnx with a free batch", "torch.onnx with a batch of 1", "TorchScript")
    works = "distill(epochs=30,student=zoo,width=0.25)"
    reasons = {
        "prune(ratio=0.5)": [f"not by {each}: {branch}" for each in routes],
        "distill(epochs=20,student=factory)": [f"not by {each}: {operator}" for each in routes],
        "distill(epochs=1,learning_rate=0.0000001,width=0.5)": ["the student did not learn"],
        f"{works}+int8_static": ["calibration samples; at least 16 are needed", "int8_dynamic"],
    }
    with ToyProcesses(tmp_path) as farm:
        farm.start("controller", "compressor")
        create(farm, branching(tmp_path), *reasons, works)
        study = farm.wait_final("study-1")
        assert (study.state, study.error) == (StudyState.DONE, "")
        trials = farm.trials("study-1")
        refused = {str(each.candidate.recipe): each for each in trials if each.refusal}
        assert set(refused) == {"original", *reasons}
        assert {str(each.candidate.recipe) for each in trials if each.score} == {works}
        assert study.choices[0].trial_id in {each.trial_id for each in trials if each.score}

        tables = study_tables(study, trials, matrix.cells(farm.store, "study-1"))
        shown = io.StringIO()
        Console(file=shown, width=100_000).print(tables)
        assert study.bundle is not None
        unpack(farm.blobs.path(study.bundle.digest), tmp_path / "out")
        report = html.unescape((tmp_path / "out" / "report.html").read_text())
        for recipe, parts in reasons.items():
            refusal = refused[recipe].refusal
            assert refusal is not None
            for part in parts:
                assert part in refusal.reason
                assert part in shown.getvalue()
                assert part in report
            log = farm.blobs.path(refusal.log_digest).read_text()
            assert log.rstrip().endswith(refusal.reason[-100:])
