"""Pruning takes whole channels and heads, proves each cut, and names what it leaves alone."""

import dataclasses
from pathlib import Path

import pytest
import tiny_models
import torch
from torch import Tensor, nn

from distillfarm.compression import analysis, registry, torch_models, width_choice, widths
from distillfarm.compression.passes.surgery import samples
from distillfarm.compression.protocols import PassRefused, WorkingModel
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.recipe import parse_recipe


def layer(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name)


def answers(model: torch_models.TorchModel, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        answer: Tensor = model.module(*inputs)
        return answer


def test_channels_behind_residuals_depthwise_and_flattening_go_together(
    residual_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    made, module, workspace = tiny_models.passed(
        residual_problem, "prune(ratio=0.5,epochs=8)", tmp_path / "w"
    )
    shapes = {name: tuple(each.shape) for name, each in module.named_parameters()}
    assert shapes["stem.weight"][0] == shapes["project.0.weight"][0] == 8
    assert shapes["depthwise.weight"] == (24, 1, 3, 3)
    assert shapes["expand.0.weight"][0] == shapes["excite.weight"][0] == 24
    assert shapes["head.weight"] == (3, 16 * 9)
    assert tiny_models.accuracy(residual_problem, made) > 0.95
    before, after = analysis.count(residual_problem.model), analysis.count(made)
    assert after.macs < 0.5 * before.macs
    assert after.parameters < 0.4 * before.parameters
    assert "left as it is, since it makes the model's outputs: head" in workspace.notes


def test_heads_and_feed_forward_widths_of_pytorchs_own_encoder_go(
    encoder_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    made, module, workspace = tiny_models.passed(
        encoder_problem, "prune(ratio=0.5,epochs=8)", tmp_path / "w"
    )
    attention = layer(module, "layers.layers.0.self_attn")
    assert vars(attention)["heads"] == 2
    assert layer(attention, "query").weight.shape == (16, 32)
    assert layer(attention, "mix").weight.shape == (32, 16)
    assert layer(module, "layers.layers.1.linear1").weight.shape == (32, 32)
    assert tiny_models.accuracy(encoder_problem, made) > 0.95
    assert any("self_attn.value 2 of 4 heads" in each for each in workspace.notes)
    # What feeds a layer norm and every residual sum keeps its width.
    assert layer(module, "tokens").weight.shape == (400, 32)


def test_heads_go_from_a_users_attention_which_keeps_their_width_too(
    bert_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    _, module, workspace = tiny_models.passed(
        bert_problem, "prune(ratio=0.5,epochs=2)", tmp_path / "w"
    )
    attention = layer(module, "attention")
    assert vars(attention)["num_attention_heads"] == 2
    assert vars(attention)["all_head_size"] == 16
    assert vars(attention)["attention_head_size"] == 8
    # The tied weight is one still, and the head that writes its widths into the code is whole.
    assert layer(module, "across").weight is layer(module, "up").weight
    assert layer(module, "fused").weight.shape == (72, 24)
    (line,) = [each for each in workspace.notes if "more than one layer" in each]
    assert "up" in line


def test_a_normalisation_over_channels_keeps_them(tmp_path: Path) -> None:
    problem = tiny_models.users("Concatenating", "image", tmp_path / "problem")
    made, module, workspace = tiny_models.passed(
        problem, "prune(ratio=0.4,epochs=8)", tmp_path / "w"
    )
    assert module.get_parameter("merge.weight").shape == (32, 24, 3, 3)
    assert any(
        "depends on all of its channels" in each and "merge" in each for each in workspace.notes
    )
    assert tiny_models.accuracy(problem, made) > 0.9


def test_recurrent_layers_are_named_and_the_rest_is_pruned(tmp_path: Path) -> None:
    problem = tiny_models.users("Recurrent", "sequence", tmp_path / "problem")
    made, module, workspace = tiny_models.passed(
        problem, "prune(ratio=0.5,epochs=8)", tmp_path / "w"
    )
    assert layer(module, "middle").weight.shape == (16, 16)
    (line,) = [each for each in workspace.notes if "recurrent" in each]
    assert line.endswith("distil to a smaller one: cell, widen.2")
    assert tiny_models.accuracy(problem, made) > 0.9


def test_a_module_whose_code_uses_all_of_a_layer_is_refused(tmp_path: Path) -> None:
    problem = tiny_models.users("Peeking", "vector", tmp_path / "problem")
    with pytest.raises(PassRefused, match=r"no layer can be pruned: .*body: what follows depends"):
        tiny_models.passed(problem, "prune(ratio=0.5)", tmp_path / "w")


def test_widths_that_are_too_narrow_are_refused(
    vector_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    with pytest.raises(
        PassRefused, match=r"body\.0: its channels leave no smaller multiple of 128"
    ):
        tiny_models.passed(vector_problem, "prune(ratio=0.5,round_to=128)", tmp_path / "w")


def test_widths_are_multiples_of_round_to(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    _, module, _ = tiny_models.passed(
        image_problem, "prune(ratio=0.4,round_to=16,epochs=1)", tmp_path / "w"
    )
    found = [each.out_channels for each in module.modules() if isinstance(each, nn.Conv2d)]
    assert found == [16, 32]


def test_steps_reach_the_same_widths_with_training_between(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    text = "prune(ratio=0.75,epochs=2,steps=3,epochs_between=1)"
    _, slowly, workspace = tiny_models.passed(image_problem, text, tmp_path / "slow")
    _, at_once, _ = tiny_models.passed(
        image_problem, "prune(ratio=0.75,epochs=2)", tmp_path / "fast"
    )
    assert [each.shape for each in slowly.parameters()] == [
        each.shape for each in at_once.parameters()
    ]
    assert [each.epoch for each in workspace.curve] == [1, 2, 3, 4]


def test_ranking_all_layers_together_cuts_where_it_matters_least(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    model = torch_models.read(image_problem.model.path)
    with torch.no_grad():
        # Most of the second convolution's channels do next to nothing.
        model.module.get_parameter("body.3.weight")[:56] *= 0.01
        model.module.get_parameter("body.4.weight")[:56] *= 0.01
        model.module.get_parameter("head.weight")[:, :56] *= 0.01
    torch_models.write(model, tmp_path / "uneven.zip")
    uneven = dataclasses.replace(
        image_problem, model=WorkingModel(tmp_path / "uneven.zip", image_problem.model.format)
    )
    for scope, wanted in (("global", [32, 16]), ("layer", [16, 32])):
        text = f"prune(ratio=0.5,scope={scope},epochs=1)"
        _, module, _ = tiny_models.passed(uneven, text, tmp_path / scope)
        found = [each.out_channels for each in module.modules() if isinstance(each, nn.Conv2d)]
        assert found == wanted


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "bn_scale"])
def test_every_importance_finds_the_channels_that_do_nothing(
    image_problem: tiny_models.Problem, tmp_path: Path, importance: str
) -> None:
    model = torch_models.read(image_problem.model.path)
    silent = [1, 5, 8, 30]
    with torch.no_grad():
        for name in ("body.0.weight", "body.1.weight", "body.1.bias"):
            model.module.get_parameter(name)[silent] = 0
        model.module.get_parameter("body.3.weight")[:, silent] = 0
    workspace = image_problem.workspace(tmp_path / "w")
    inputs, labels = samples(model, workspace, 64)
    found = widths.Widths(model.module, model.spec.signature, inputs).find(
        width_choice.scores(importance, model, inputs, labels), lambda _done: None
    )
    width = next(each for each in found.widths if each.layer == "body.0")
    ((_, units),) = width_choice.cuts([width], [28], 4)
    assert units == silent


def test_a_cut_of_channels_that_do_nothing_changes_no_answer(
    encoder_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    model = torch_models.read(encoder_problem.model.path)
    workspace = encoder_problem.workspace(tmp_path / "w")
    inputs, labels = samples(model, workspace, 16)
    with torch.no_grad():
        model.module.get_parameter("layers.layers.0.linear2.weight")[:, :24] = 0
    before = answers(model, inputs)
    tried = widths.Widths(model.module, model.spec.signature, inputs)
    found = tried.find(width_choice.scores("magnitude", model, inputs, labels), lambda _done: None)
    width = next(each for each in found.widths if each.layer == "layers.layers.0.linear1")
    assert tried.cut(width, range(24))
    assert torch.allclose(answers(model, inputs), before, atol=1e-5)
    assert layer(model.module, "layers.layers.0.linear1").weight.shape == (40, 32)


def test_a_wrong_cut_is_taken_back(encoder_problem: tiny_models.Problem, tmp_path: Path) -> None:
    model = torch_models.read(encoder_problem.model.path)
    inputs, _ = samples(model, encoder_problem.workspace(tmp_path / "w"), 16)
    before = answers(model, inputs)
    tried = widths.Widths(model.module, model.spec.signature, inputs)
    # The residual stream: what it holds is normalised over all of its channels.
    stream = widths.Width("layers.layers.0.linear2", 32, torch.ones(32))
    assert not tried.cut(stream, range(16))
    assert torch.equal(answers(model, inputs), before)


def test_what_the_answers_do_not_depend_on_is_left_alone(
    encoder_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    model = torch_models.read(encoder_problem.model.path)
    with torch.no_grad():
        # Whatever is done to the channels of its attention, right or wrong, looks the same.
        model.module.get_parameter("layers.layers.0.self_attn.out_proj.weight").zero_()
    torch_models.write(model, tmp_path / "deaf.zip")
    deaf = WorkingModel(tmp_path / "deaf.zip", encoder_problem.model.format)
    problem = dataclasses.replace(encoder_problem, model=deaf)
    _, module, workspace = tiny_models.passed(problem, "prune(epochs=1)", tmp_path / "w")
    assert module.get_parameter("layers.layers.0.self_attn.query.weight").shape == (32, 32)
    assert module.get_parameter("layers.layers.1.self_attn.query.weight").shape == (16, 32)
    (line,) = [each for each in workspace.notes if "no cut can be checked" in each]
    assert line.endswith("layers.layers.0.self_attn.value")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
@pytest.mark.parametrize("kind", ["residual_problem", "encoder_problem"])
def test_what_was_pruned_and_factorised_runs_under_the_real_runtimes(
    request: pytest.FixtureRequest, tmp_path: Path, runtime: str, kind: str
) -> None:
    problem: tiny_models.Problem = request.getfixturevalue(kind)
    model = problem.model
    for text in ("prune(ratio=0.5,epochs=8)", "low_rank(rank=ratio,ratio=0.3,epochs=8,round_to=4)"):
        (spec,) = parse_recipe(text).passes
        workspace = problem.workspace(tmp_path / spec.name)
        model = registry.compression_pass(spec.name).run(model, spec, workspace)
    target = parse_target(runtime)
    exporter = registry.exporter(target.runtime)
    files = []
    for name, source in (("before", problem.model), ("after", model)):
        workspace = problem.workspace(tmp_path / name)
        path = exporter.export(source, target, workspace)
        assert exporter.verify(path, source, workspace) < 1e-3
        files.append(WorkingModel(path, exporter.format))
    assert files[1].path.stat().st_size < 0.8 * files[0].path.stat().st_size
    assert analysis.count(files[1]).macs < 0.6 * analysis.count(files[0]).macs
    assert tiny_models.accuracy(problem, files[1]) > 0.95
