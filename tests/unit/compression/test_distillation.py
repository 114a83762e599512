"""What a student learns from, which students there are, and trainings that go on after a kill."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from torch import Tensor, nn
from torch.nn import functional

from distillfarm.compression import registry, torch_models, training
from distillfarm.compression.checkpoints import Checkpoint
from distillfarm.compression.hints import Hints, HintWeights, recorded
from distillfarm.compression.passes.distill import Distill
from distillfarm.compression.protocols import PassRefused, WorkingModel, Workspace
from distillfarm.compression.zoo.config import Family
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import parse_recipe

SCALABLE_FACTORY = b"""
import torch


def build(width=1.0, depth=1):
    hidden = int(32 * width)
    layers = [torch.nn.Linear(20, hidden), torch.nn.ReLU()]
    for _ in range(depth):
        layers += [torch.nn.Linear(hidden, hidden), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(hidden, 3))


def wrong():
    return torch.nn.Linear(20, 7)


def mistaken():
    return torch.nn.Linear(19, 3)
"""


@pytest.fixture(scope="module")
def problems(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tiny_models.Problem]:
    folder, made = tmp_path_factory.mktemp("problems"), dict[str, tiny_models.Problem]()

    def problem(kind: str) -> tiny_models.Problem:
        if kind not in made:
            made[kind] = tiny_models.trained(kind, folder / kind)
        return made[kind]

    return problem


def distilled(workspace: Workspace, problem: tiny_models.Problem, text: str) -> WorkingModel:
    return Distill().run(problem.model, parse_recipe(text).passes[0], workspace)


def student(path: Path) -> torch_models.TorchModel:
    return torch_models.read(path)


def batch_of(problem: tiny_models.Problem, rows: int = 32) -> Tensor:
    with np.load(problem.data) as arrays:
        return torch.from_numpy(arrays["x"][:rows])


def state_error(teacher: nn.Module, made: nn.Module, batch: Tensor) -> float:
    """What of the teacher's last hidden state the student's does not explain linearly."""
    with torch.no_grad(), recorded(teacher) as theirs, recorded(made) as ours:
        teacher(batch)
        made(batch)
    target = theirs.states[-1].flatten(0, -2)
    given = ours.states[-1].flatten(0, -2)
    given = torch.cat([given, torch.ones(len(given), 1)], dim=1)
    fitted = given @ torch.linalg.lstsq(given, target).solution
    return float((fitted - target).square().mean() / target.var())


def map_divergence(teacher: nn.Module, made: nn.Module, batch: Tensor) -> float:
    # One after the other: a recorder notes every attention that is computed while it is on.
    with torch.no_grad(), recorded(teacher) as theirs:
        teacher(batch)
    with torch.no_grad(), recorded(made) as ours:
        made(batch)
    return float(
        functional.kl_div(ours.maps[-1].log(), theirs.maps[-1], reduction="none").sum(-1).mean()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ["distill(width=0.5,epochs=10)", "sparsify(ratio=0.9,epochs=10)"]
)
def test_what_no_label_tells_is_learned_from_samples_without_labels(
    problems: Callable[[str], tiny_models.Problem], tmp_path: Path, recipe: str
) -> None:
    """Nothing labelled is of class 2; sparsifying that hard forgets what is not rehearsed."""
    known = problems("vector")
    with np.load(known.data) as archive:
        inputs, labels = archive["x"], archive["label"]
    some = labels != 2
    right = {}
    for name, more in (("without", {}), ("with", {"unlabelled/x": inputs})):
        data = tmp_path / f"{name}.npz"
        np.savez(data, allow_pickle=False, x=inputs[some], label=labels[some], **more)
        problem = dataclasses.replace(known, data=data)
        _, module, _ = tiny_models.passed(problem, recipe, tmp_path / name)
        with torch.no_grad():
            answers = module.eval()(torch.from_numpy(inputs[~some])).argmax(dim=1)
        right[name] = float((answers == 2).float().mean())
    assert right["without"] < 0.6
    assert right["with"] > 0.9


@pytest.mark.slow
def test_attention_maps_come_closer_when_they_are_compared(
    problems: Callable[[str], tiny_models.Problem], tmp_path: Path
) -> None:
    problem = problems("tokens")
    teacher, batch = student(problem.model.path).module, batch_of(problem)
    apart = []
    for name, text in {
        "soft": "distill(width=0.5,epochs=4)",
        "maps": "distill(width=0.5,epochs=4,attention=2)",
    }.items():
        workspace = problem.workspace(tmp_path / name)
        made = student(distilled(workspace, problem, text).path)
        apart.append(map_divergence(teacher, made.module, batch))
    assert apart[1] < 0.5 * apart[0]
    assert "2 attention maps" in workspace.notes[0]


@pytest.mark.slow
def test_hidden_states_come_closer_when_they_are_compared(
    problems: Callable[[str], tiny_models.Problem], tmp_path: Path
) -> None:
    problem = problems("image")
    teacher, batch = student(problem.model.path).module, batch_of(problem, 200)
    apart = []
    for name, text in {
        "soft": "distill(width=0.5,epochs=20)",
        "features": "distill(width=0.5,epochs=20,features=10)",
    }.items():
        workspace = problem.workspace(tmp_path / name)
        made = student(distilled(workspace, problem, text).path)
        apart.append(state_error(teacher, made.module, batch))
    assert apart[1] < 0.9 * apart[0]
    assert "hidden states" in workspace.notes[0]


@pytest.mark.slow
def test_a_teacher_that_is_a_file_is_seen_from_outside_alone(
    problems: Callable[[str], tiny_models.Problem],
    tmp_path: Path,
) -> None:
    problem = problems("vector")
    target = parse_target("onnxruntime")
    path = registry.exporter(target.runtime).export(
        problem.model, target, problem.workspace(tmp_path / "export")
    )
    problem = dataclasses.replace(problem, model=WorkingModel(path, ModelFormat.ONNX))
    with pytest.raises(PassRefused, match="this onnx model teaches by soft labels alone"):
        distilled(problem.workspace(tmp_path / "a"), problem, "distill(features=1,epochs=1)")
    made = distilled(problem.workspace(tmp_path / "b"), problem, "distill(epochs=4)")
    assert student(made.path).spec.zoo is not None


def test_a_student_without_attention_cannot_compare_maps(
    problems: Callable[[str], tiny_models.Problem], tmp_path: Path
) -> None:
    problem = problems("image")
    with pytest.raises(PassRefused, match="no attention maps of the same length"):
        distilled(problem.workspace(tmp_path / "w"), problem, "distill(attention=1,epochs=1)")


class Attends(nn.Module):
    """The same attention, by each of PyTorch's functions."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, sequence: Tensor) -> Tensor:
        if self.how == "module":
            answer: Tensor = self.attention(sequence, sequence, sequence, need_weights=False)[0]
            return answer
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        parts = functional.linear(sequence, weight, bias).chunk(3, dim=-1)
        query, key, value = (each.reshape(*each.shape[:2], 2, 8).transpose(1, 2) for each in parts)
        if self.how == "function":
            mixed = functional.scaled_dot_product_attention(query, key, value)
        else:
            mixed = torch.softmax(query @ key.transpose(-2, -1) / 8**0.5, dim=-1) @ value
        projected: Tensor = self.attention.out_proj(mixed.transpose(1, 2).flatten(2))
        return projected


def test_attention_is_seen_however_it_is_computed() -> None:
    sequence = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
    seen: list[Sequence[Tensor]] = []
    for how in ("module", "function", "by hand"):
        module = Attends(how).eval()
        with torch.no_grad(), recorded(module) as found:
            module(sequence)
        seen.append(found.maps)
    assert [len(each) for each in seen] == [1, 1, 1]
    assert seen[0][0].shape == (3, 5, 5)
    torch.testing.assert_close(seen[0][0], seen[1][0])
    torch.testing.assert_close(seen[0][0], seen[2][0])


def test_a_projection_learns_along(problems: Callable[[str], tiny_models.Problem]) -> None:
    problem = problems("image")
    teacher, made = (student(problem.model.path).module for _ in range(2))
    hints = Hints(teacher, made, HintWeights(1.0, 0.0), [batch_of(problem)])
    assert [tuple(each.shape) for each in hints.projections.parameters()] == [(32, 32), (64, 64)]
    with hints.watching():
        made(batch_of(problem))
    torch.autograd.backward(hints.loss([batch_of(problem)]))
    assert all(each.grad is not None for each in hints.projections.parameters())
    assert all(each.grad is None for each in teacher.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "layer"),
    [("image", nn.Conv2d), ("tokens", nn.LayerNorm), ("sequence", nn.GRU), ("vector", nn.Linear)],
)
def test_every_family_takes_a_depth(
    kind: str,
    layer: type[nn.Module],
    problems: Callable[[str], tiny_models.Problem],
    tmp_path: Path,
) -> None:
    problem = problems(kind)
    sizes = []
    for depth in (1, 3):
        text = f"distill(width=0.5,depth={depth},epochs=4)"
        made = student(distilled(problem.workspace(tmp_path / str(depth)), problem, text).path)
        layers = [each for each in made.module.modules() if isinstance(each, layer)]
        deep = [each.num_layers for each in layers if isinstance(each, nn.GRU)] or [len(layers)]
        sizes.append((deep[0], torch_models.parameter_count(made.module)))
    assert sizes[0] < sizes[1]
    assert sizes[0][1] < sizes[1][1]


def with_student(workspace: Workspace, tmp_path: Path, function: str) -> Workspace:
    path = tmp_path / "student.py"
    path.write_bytes(SCALABLE_FACTORY)
    return dataclasses.replace(workspace, student=(path, function))


def test_the_users_student_is_given_width_and_depth(
    problems: Callable[[str], tiny_models.Problem], tmp_path: Path
) -> None:
    problem = problems("vector")
    workspace = with_student(problem.workspace(tmp_path / "w"), tmp_path, "build")
    made = student(distilled(workspace, problem, "distill(width=0.25,depth=2,epochs=8)").path)
    assert [each.out_features for each in made.module.modules() if isinstance(each, nn.Linear)] == [
        8,
        8,
        8,
        3,
    ]
    assert made.factory_source == SCALABLE_FACTORY


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("wrong", r"answers \[7\] a sample, the teacher \[3\]"),
        ("mistaken", "does not take the teacher's inputs"),
    ],
)
def test_a_student_that_does_not_fit_is_refused(
    function: str,
    text: str,
    problems: Callable[[str], tiny_models.Problem],
    tmp_path: Path,
) -> None:
    problem = problems("vector")
    workspace = with_student(problem.workspace(tmp_path / "w"), tmp_path, function)
    with pytest.raises(PassRefused, match=text):
        distilled(workspace, problem, "distill(epochs=1)")


def test_a_teachers_own_factory_is_scaled(tmp_path: Path) -> None:
    plain = tiny_models.trained("vector", tmp_path / "plain")
    module = torch_models.run_factory(SCALABLE_FACTORY, "build")
    with np.load(plain.data) as arrays:
        inputs, labels = arrays["x"], arrays["label"]
    tiny_models.train(module, torch.from_numpy(inputs), torch.from_numpy(labels))
    spec = torch_models.ModuleSpec(plain.signature, factory_function="build")
    model = torch_models.TorchModel(module, spec, SCALABLE_FACTORY)
    problem = tiny_models.stored(tmp_path / "problem", model, x=inputs, label=labels)
    text = "distill(student=teacher,width=0.5,epochs=8)"
    made = student(distilled(problem.workspace(tmp_path / "w"), problem, text).path)
    assert made.spec.factory_arguments == (("width", 0.5),)
    zoo = "distill(student=zoo,width=0.5,epochs=8)"
    other = student(distilled(problem.workspace(tmp_path / "z"), problem, zoo).path)
    assert other.spec.zoo is not None
    assert other.spec.zoo.family is Family.MLP


def test_what_is_asked_for_and_not_there_is_refused(
    problems: Callable[[str], tiny_models.Problem], tmp_path: Path
) -> None:
    problem = problems("vector")
    with pytest.raises(PassRefused, match="--student FILE:FUNCTION"):
        distilled(problem.workspace(tmp_path / "w"), problem, "distill(student=factory)")


def test_a_student_that_does_not_learn_is_refused_with_what_it_reached(
    problems: Callable[[str], tiny_models.Problem], tmp_path: Path
) -> None:
    problem = problems("vector")
    workspace = problem.workspace(tmp_path / "w")
    with pytest.raises(PassRefused, match=r"did not learn: after epoch 1 accuracy 0\.\d+, always"):
        distilled(workspace, problem, "distill(epochs=1,learning_rate=0.0000001)")
    with pytest.raises(PassRefused, match="lower learning_rate"):
        distilled(
            problem.workspace(tmp_path / "x"), problem, "distill(epochs=4,learning_rate=1000000)"
        )


KILLED = """
import sys
from pathlib import Path
import tiny_models
from distillfarm.compression import checkpoints
from distillfarm.compression.passes.distill import Distill
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import parse_recipe

folder, model, data, text = map(str, sys.argv[1:5])
kept = 0
save = checkpoints.Checkpoint.save

def saved(self, state):
    global kept
    save(self, state)
    kept += 1
    if kept == 2:
        print("two epochs", flush=True)
        sys.stdin.read()

checkpoints.Checkpoint.save = saved
source = WorkingModel(Path(model), ModelFormat.TORCH_MODULE)
workspace = Workspace(
    Path(folder), Path(folder) / "cache", Path(data), 0, source, 3, 1, lambda done, text: None,
    Path(folder) / "checkpoints",
)
Distill().run(source, parse_recipe(text).passes[0], workspace)
"""


@pytest.mark.slow
@pytest.mark.parametrize("text", ["distill(width=0.5,epochs=5,features=1)"])
def test_a_killed_training_goes_on_and_gives_the_same_bytes(
    text: str, problems: Callable[[str], tiny_models.Problem], tmp_path: Path
) -> None:
    problem = problems("image")
    whole = problem.workspace(tmp_path / "whole", seed=3)
    wanted = distilled(whole, problem, text).path.read_bytes()

    folder = tmp_path / "killed"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, folder, problem.model.path, problem.data, text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "two epochs\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()

    epochs: list[str] = []
    again = dataclasses.replace(
        problem.workspace(tmp_path / "again", lambda _done, told: epochs.append(told), seed=3),
        checkpoints=folder / "checkpoints",
    )
    assert distilled(again, problem, text).path.read_bytes() == wanted
    assert not any(each.startswith(("epoch 1", "epoch 2")) for each in epochs)
    assert [each.epoch for each in again.curve] == [1, 2, 3, 4, 5]
    assert again.curve == whole.curve


def test_a_damaged_checkpoint_is_none(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path)
    assert kept.load() is None
    kept.save({"epoch": 3, "weights": torch.ones(2)})
    assert Checkpoint(tmp_path).load() is not None
    (tmp_path / "training.pt").write_bytes(b"half")
    assert Checkpoint(tmp_path).load() is None


def test_a_course_without_a_folder_keeps_nothing() -> None:
    Checkpoint(None).save({"epoch": 1})
    assert Checkpoint(None).load() is None


def test_few_samples_make_small_batches_so_that_an_epoch_has_steps() -> None:
    counts = [10, 100, 383, 2_560, 13_000]
    assert [training.batches(each) for each in counts] == [1, 6, 12, 20, 101]
