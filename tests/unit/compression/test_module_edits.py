"""What passes change about layers is the same when it is done again to a fresh module."""

import copy
import dataclasses
from pathlib import Path

import pytest
import tiny_models
import torch
from torch import nn

from distillfarm.compression import module_edits, registry, torch_layers, torch_models
from distillfarm.compression.module_edits import Factorised, Resized, Unpacked
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.recipe import parse_recipe


def after(problem: tiny_models.Problem, text: str, folder: Path) -> torch_models.TorchModel:
    model = problem.model
    for index, spec in enumerate(parse_recipe(text).passes):
        workspace = problem.workspace(folder / str(index))
        model = registry.compression_pass(spec.name).run(model, spec, workspace)
    return torch_models.read(model.path)


def test_pruning_and_factorising_in_turns_survive_the_file(
    encoder_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    text = "prune(epochs=1)+low_rank(energy=0.7,epochs=1)+prune(epochs=1,scope=global)"
    model = after(encoder_problem, text, tmp_path)
    kinds = [type(each) for each in model.spec.edits]
    order = list(dict.fromkeys(kinds))
    assert order == [Unpacked, Resized, Factorised]
    assert kinds[-1] is Resized
    torch_models.write(model, tmp_path / "again.zip")
    again = torch_models.read(tmp_path / "again.zip")
    tokens = torch.randint(0, 400, (5, 10))
    assert torch.equal(model.module(tokens), again.module(tokens))
    before = torch_models.read(encoder_problem.model.path)
    assert torch_models.parameter_count(again.module) < 0.6 * torch_models.parameter_count(
        before.module
    )


def test_edits_that_fit_no_layer_are_rejected(
    image_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    model = torch_models.read(image_problem.model.path)
    for edit in (
        Factorised("body.9", 8),
        Factorised("body.1", 8),
        Unpacked("head"),
        Resized("head", (), (("colour", (3,)),)),
        Resized("head", (), (("weight", (-1, 3)),)),
    ):
        spec = dataclasses.replace(model.spec, edits=(edit,))
        torch_models.write(dataclasses.replace(model, spec=spec), tmp_path / "bad.zip")
        with pytest.raises(ModelRejected, match=edit.module):
            torch_models.read(tmp_path / "bad.zip")


def test_a_layer_that_is_used_under_two_names_is_replaced_under_both() -> None:
    shared = nn.Linear(4, 4)
    module = nn.Sequential(shared, nn.ReLU(), shared)
    new = nn.Linear(4, 4)
    module_edits.replace(module, "0", new)
    assert module[0] is new
    assert module[2] is new


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("other_widths", [True, False])
def test_opened_attention_answers_as_before(batch_first: bool, other_widths: bool) -> None:
    torch.manual_seed(0)
    widths = {"kdim": 12, "vdim": 20} if other_widths else {}
    packed = nn.MultiheadAttention(16, 4, batch_first=batch_first, **widths).eval()
    opened = torch_layers.unpacked(packed)
    query = torch.randn(3, 5, 16)
    key = torch.randn(3, 7, widths.get("kdim", 16))
    value = torch.randn(3, 7, widths.get("vdim", 16))
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[:, 5:] = True
    given = [query, key, value]
    if not batch_first:
        given = [each.transpose(0, 1) for each in given]
    for masks in (
        {},
        {"key_padding_mask": padding},
        {"attn_mask": torch.randn(5, 7), "average_attn_weights": False},
        {"attn_mask": torch.rand(12, 5, 7) > 0.8, "key_padding_mask": padding},
        {"need_weights": False},
    ):
        wanted, wanted_weights = packed(*given, **masks)
        found, found_weights = opened(*given, **masks)
        assert torch.allclose(found, wanted, atol=1e-6)
        if wanted_weights is None:
            assert found_weights is None
        else:
            assert torch.allclose(found_weights, wanted_weights, atol=1e-6)


def test_attention_with_what_cannot_be_opened_is_refused() -> None:
    with pytest.raises(ValueError, match="add_bias_kv"):
        torch_layers.unpacked(nn.MultiheadAttention(16, 4, add_bias_kv=True))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(12, 10),
        nn.Linear(12, 10, bias=False),
        nn.Conv2d(6, 10, 3, stride=2, padding=1, dilation=2),
        nn.Conv1d(6, 10, 5, padding="same", padding_mode="circular"),
        nn.Embedding(30, 10, padding_idx=0),
    ],
)
def test_two_layers_give_what_the_one_gave(layer: torch_layers.Factorisable) -> None:
    pair = torch_layers.factorised(copy.deepcopy(layer), 4)
    inputs = {
        nn.Linear: torch.randn(3, 12),
        nn.Conv2d: torch.randn(3, 6, 9, 9),
        nn.Conv1d: torch.randn(3, 6, 9),
        nn.Embedding: torch.randint(0, 30, (3, 7)),
    }[type(layer)]
    assert pair(inputs).shape == layer(inputs).shape
    assert ("1.bias" in dict(pair.named_parameters())) is (getattr(layer, "bias", None) is not None)


def test_a_pruned_attention_is_written_as_the_numbers_that_changed(
    encoder_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    model = after(encoder_problem, "prune(epochs=1)", tmp_path)
    numbers = {
        name for each in model.spec.edits if isinstance(each, Resized) for name, _ in each.numbers
    }
    assert numbers <= {"heads", "in_features", "out_features"}
