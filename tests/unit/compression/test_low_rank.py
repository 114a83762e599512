"""Layers become two where that is smaller, with the ranks that were asked for."""

import dataclasses
from pathlib import Path

import pytest
import tiny_models
import torch
from torch import nn

from distillfarm.compression import analysis, factors, rank_choice, torch_models
from distillfarm.compression.protocols import PassRefused, WorkingModel
from distillfarm.compression.rank_choice import Option
from distillfarm.compression.torch_layers import Factorisable


def decomposed(layer: Factorisable, moment: torch.Tensor | None = None) -> factors.Factors:
    return factors.factors("layer", layer, moment)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Linear(12, 10), torch.randn(3, 12)),
        (nn.Conv2d(6, 10, 3, stride=2, padding=1), torch.randn(3, 6, 9, 9)),
        (nn.Conv1d(6, 10, 5), torch.randn(3, 6, 9)),
        (nn.Embedding(30, 10), torch.randint(0, 30, (3, 7))),
    ],
)
def test_at_full_rank_nothing_is_lost(layer: Factorisable, inputs: torch.Tensor) -> None:
    found = decomposed(layer)
    full = found.left.shape[1]
    assert found.kept(full) == pytest.approx(1.0)
    assert torch.allclose(found.layers(full)(inputs), layer(inputs), atol=1e-5)
    assert torch.allclose(found.product(full), layer.weight, atol=1e-5)


def test_ranks_make_the_layer_smaller_and_are_multiples() -> None:
    found = decomposed(nn.Linear(64, 64, bias=False))
    assert found.ranks(8) == [8, 16, 24]
    for rank in found.ranks(8):
        size = sum(each.numel() for each in found.layers(rank).parameters())
        assert size == found.parameters_of(rank) < found.parameters == 4096
    assert decomposed(nn.Linear(16, 3)).ranks(8) == []


def test_energy_is_the_share_of_squared_singular_values() -> None:
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.0])))
    assert decomposed(layer).energy.tolist() == pytest.approx([9 / 14, 13 / 14, 1.0, 1.0])


def test_known_inputs_keep_more_of_the_outputs_at_the_same_rank() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(32, 32)
    # Inputs that vary along few directions.
    inputs = torch.randn(500, 4) @ torch.randn(4, 32) + 0.05 * torch.randn(500, 32)
    moment = (inputs.T @ inputs).double()
    blind, seeing = decomposed(layer), decomposed(layer, moment)
    errors = [
        float((each.layers(4)(inputs) - layer(inputs)).detach().square().mean())
        for each in (blind, seeing)
    ]
    assert errors[1] < 0.05 * errors[0]
    assert seeing.kept(4) > 0.95 > blind.kept(4)


def test_moments_are_those_of_what_layers_are_given(vector_problem: tiny_models.Problem) -> None:
    module = torch_models.read(vector_problem.model.path).module
    given = torch.randn(9, 20)
    found = factors.moments(module, [given], ["body.0", "body.2"])
    assert torch.allclose(found["body.0"], (given.T @ given).double(), atol=1e-4)
    hidden = module.get_submodule("body.1")(module.get_submodule("body.0")(given))
    assert torch.allclose(found["body.2"], (hidden.T @ hidden).double(), atol=1e-4)


def test_attention_projections_dense_layers_and_embeddings_are_factorised(
    encoder_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    made, module, workspace = tiny_models.passed(
        encoder_problem, "low_rank(energy=0.8,epochs=8)", tmp_path / "w"
    )
    pairs = {
        name: each[1].in_features
        for name, each in module.named_modules()
        if isinstance(each, nn.Sequential) and isinstance(each[1], nn.Linear)
    }
    attention = "layers.layers.0.self_attn."
    assert {"tokens", *(attention + each for each in ("query", "key", "value", "mix"))} <= set(
        pairs
    )
    for name, rank in pairs.items():
        assert any(each.startswith(f"{name}: rank {rank} of 32, ") for each in workspace.notes)
    before, after = analysis.count(encoder_problem.model), analysis.count(made)
    assert after.parameters < 0.7 * before.parameters
    assert after.macs < 0.7 * before.macs
    assert tiny_models.accuracy(encoder_problem, made) > 0.95


def test_a_shared_layer_is_factorised_once_and_tied_weights_stay_tied(
    bert_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    made, module, workspace = tiny_models.passed(
        bert_problem, "low_rank(energy=0.8,epochs=8)", tmp_path / "w"
    )
    assert isinstance(module.get_submodule("attention.query"), nn.Sequential)
    assert module.get_parameter("across.weight") is module.get_parameter("up.weight")
    (line,) = [each for each in workspace.notes if "more than one layer" in each]
    assert line.endswith(": up, across")
    assert tiny_models.accuracy(bert_problem, made) > 0.95


def test_the_ratio_is_kept_by_every_layer(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    made, module, _ = tiny_models.passed(
        image_problem, "low_rank(rank=ratio,ratio=0.6,epochs=4)", tmp_path / "w"
    )
    pair = module.get_submodule("body.3")
    assert sum(each.numel() for each in pair.parameters()) <= 0.4 * 64 * 32 * 9
    assert tiny_models.accuracy(image_problem, made) > 0.95


def test_sensitivity_spends_the_budget_where_the_answers_move(
    vector_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    model = torch_models.read(vector_problem.model.path)
    with torch.no_grad():
        # The second layer needs one direction alone, the first layer all of them.
        weight = model.module.get_parameter("body.2.weight")
        weight.copy_(weight[:, :1] @ torch.ones(1, 128))
    torch_models.write(model, tmp_path / "model.zip")
    problem = dataclasses.replace(
        vector_problem, model=WorkingModel(tmp_path / "model.zip", vector_problem.model.format)
    )
    text = "low_rank(rank=sensitivity,ratio=0.6,epochs=1)"
    _, module, _ = tiny_models.passed(problem, text, tmp_path / "w")
    assert module.get_parameter("body.2.0.weight").shape == (8, 128)
    assert isinstance(module.get_submodule("body.0"), nn.Linear)


def test_the_budget_goes_where_a_parameter_saves_most() -> None:
    options = {
        "a": [Option(1, 10, 1.0), Option(2, 20, 0.5), Option(None, 40, 0.0)],
        "b": [Option(1, 10, 0.2), Option(2, 20, 0.1), Option(None, 40, 0.0)],
    }
    ranks = {
        budget: {name: each.rank for name, each in rank_choice.handed_out(options, budget).items()}
        for budget in (15, 30, 40, 50, 80)
    }
    assert ranks[15] == {"a": 1, "b": 1}
    assert ranks[30] == {"a": 2, "b": 1}
    assert ranks[40] == {"a": 2, "b": 2}
    assert ranks[50] == {"a": None, "b": 1}
    assert ranks[80] == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("function", "kind", "reason"),
    [
        ("Peeking", "vector", "body: the module's code uses more of it than its answers"),
        ("Recurrent", "sequence", "cell: it is recurrent; distil to a smaller one"),
    ],
)
def test_a_model_that_gets_no_smaller_is_refused_by_name(
    tmp_path: Path, function: str, kind: str, reason: str
) -> None:
    problem = tiny_models.users(function, kind, tmp_path / "problem")
    with pytest.raises(PassRefused, match=f"no layer gets smaller: .*{reason}"):
        tiny_models.passed(
            problem, "low_rank(round_to=16)" if kind == "sequence" else "low_rank", tmp_path / "w"
        )
