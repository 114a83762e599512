"""Trainings that were interrupted go on where they were, and end as if nothing had happened."""

import dataclasses
import re
from pathlib import Path

import psutil
import pytest
import tiny_models

from distillfarm.compression import registry
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.compression.workshop import Workshop
from distillfarm.domain.model import ArtifactRef, Dataset, ModelFormat, SourceModel
from distillfarm.domain.recipe import parse_recipe
from distillfarm.sandbox.errors import TaskOutOfMemory
from distillfarm.sandbox.limits import Limits
from distillfarm.wire.blobs import LocalBlobs

pytestmark = pytest.mark.slow

EPOCH = re.compile(r"epoch (\d+) of (\d+)")


class InterruptedHere(BaseException):
    """What ends a process, as far as the pass can see."""


def run(text: str, problem: tiny_models.Problem, workspace: Workspace) -> WorkingModel:
    (spec,) = parse_recipe(text).passes
    return registry.compression_pass(spec.name).run(problem.model, spec, workspace)


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("distill(width=0.5,epochs=4,features=1)", 4),
        ("prune(ratio=0.5,steps=2,epochs_between=2,epochs=3)", 5),
        ("low_rank(rank=ratio,epochs=4)", 4),
        ("qat(epochs=4)", 4),
        ("qat(bits=4,epochs=4)", 4),
        ("sparsify(ratio=0.7,epochs=4)", 4),
        ("cluster(bits=3,epochs=4)", 4),
    ],
)
def test_an_interrupted_pass_gives_the_bytes_of_one_that_was_not(
    text: str, epochs: int, image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    """Byte for byte the same, so zeros, shared values and grids are held to as before."""
    whole = image_problem.workspace(tmp_path / "whole", seed=3)
    wanted = run(text, image_problem, whole)

    ended: list[str] = []

    def interrupt(_done: float, told: str) -> None:
        ended.extend([told] if "selection quality" in told else [])
        if len(ended) == epochs - 1:
            raise InterruptedHere

    kept = tmp_path / "checkpoints"
    begun = image_problem.workspace(tmp_path / "begun", interrupt, seed=3)
    with pytest.raises(InterruptedHere):
        run(text, image_problem, dataclasses.replace(begun, checkpoints=kept))

    told: list[str] = []
    again = image_problem.workspace(tmp_path / "again", lambda _, line: told.append(line), seed=3)
    made = run(text, image_problem, dataclasses.replace(again, checkpoints=kept))
    assert made.path.read_bytes() == wanted.path.read_bytes()
    assert again.curve == whole.curve
    assert again.notes == whole.notes
    assert sum("selection quality" in each for each in told) == 1
    assert any(each.startswith("going on after epoch") for each in told)


def test_a_checkpoint_of_another_module_is_not_loaded(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    kept = tmp_path / "checkpoints"
    first = image_problem.workspace(tmp_path / "first")
    run("distill(width=0.5,epochs=8)", image_problem, dataclasses.replace(first, checkpoints=kept))
    second = image_problem.workspace(tmp_path / "second")
    text = "distill(width=0.25,epochs=8)"
    made = run(text, image_problem, dataclasses.replace(second, checkpoints=kept))
    fresh = run(text, image_problem, image_problem.workspace(tmp_path / "fresh"))
    assert made.path.read_bytes() == fresh.path.read_bytes()


def test_a_killed_training_process_leaves_what_the_next_one_goes_on_with(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    dataset = Dataset(blobs.put_file(image_problem.data))
    path = image_problem.model.path
    form = ModelFormat.TORCH_MODULE
    artifact = ArtifactRef(blobs.put_file(path), path.stat().st_size, form, path.name)
    work = Workshop(blobs, tmp_path / "work", Limits(), unfinished=tmp_path / "unfinished")
    teacher = work.ingest(SourceModel(artifact), dataset)
    (spec,) = parse_recipe("sparsify(ratio=0.7,epochs=16)").passes

    def kill(_done: float, told: str) -> None:
        if told.startswith(f"{spec}: epoch 8 of"):
            for each in psutil.Process().children(recursive=True):
                if "distillfarm.sandbox.child" in each.cmdline():
                    each.kill()

    with pytest.raises(TaskOutOfMemory):
        work.apply(teacher, spec, dataset, teacher, 0, report=kill)
    assert list((tmp_path / "unfinished").rglob("training.pt"))

    told: list[str] = []
    again = Workshop(blobs, tmp_path / "other", Limits(), unfinished=tmp_path / "unfinished")
    made = again.apply(teacher, spec, dataset, teacher, 0, report=lambda _, line: told.append(line))
    epochs = [int(found[1]) for each in told if (found := EPOCH.search(each))]
    assert min(epochs) >= 7
    assert not list((tmp_path / "unfinished").iterdir())

    whole = Workshop(blobs, tmp_path / "whole", Limits())
    assert whole.apply(teacher, spec, dataset, teacher, 0).artifact == made.artifact
    assert [each.epoch for each in made.reports[0].curve] == list(range(1, 17))
